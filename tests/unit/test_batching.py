"""The runtime policy: what is written into its ConfigMap, which pods read it, and what is said of those that don't."""

import json
from dataclasses import replace
from typing import Any

from springtide.manifests.batching import policy_map, unheeded
from springtide.manifests.revisions import plan_pools
from springtide.manifests.settings import Settings
from tests.unit.samples import children_of, model_service

SETTINGS = Settings("model-server:1", images={"VLLM": "vllm:1"})
MODEL = {"uri": "oci://r.example/m:v1"}
MIXED = [{"name": "gpu", "runtime": {"name": "VLLM"}}, {"name": "cpu"}]
SAID = {"batching": {"maxBatchSize": 8}, "priorities": [{"name": "gold", "reservedPercent": 30}, {"name": "rest"}]}


def spec(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "pools": [{"name": "cpu"}]} | more


def children(**more: Any) -> dict[str, Any]:
    made = children_of(model_service(spec(**more)), SETTINGS)
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in made}


def policy(**more: Any) -> Any:
    data = policy_map(model_service(spec(**more)))["data"]
    assert data.keys() == {"policy.json"}
    return json.loads(data["policy.json"])


def test_the_config_map_holds_what_is_written() -> None:
    assert policy() == {}
    assert policy(priorities=[]) == {}
    assert policy(**SAID) == SAID
    background = {"name": "background", "reservedPercent": 0, "sheddable": True}
    assert policy(priorities=[background]) == {"priorities": [{"name": "background", "sheddable": True}]}


def test_an_edit_changes_the_config_map_and_nothing_else() -> None:
    plain, said = children(), children(**SAID)
    assert plain.keys() == said.keys()
    assert [name for name in plain if plain[name] != said[name]] == ["ConfigMap/chat-runtime-policy"]


def test_pods_of_the_model_server_read_it_and_no_others() -> None:
    made = children(pools=MIXED)
    gpu, cpu = (made[f"Deployment/chat-{name}"]["spec"]["template"]["spec"] for name in ("gpu", "cpu"))
    volume = {"name": "policy", "configMap": {"name": "chat-runtime-policy", "optional": True}}
    assert volume in cpu["volumes"] and volume not in gpu["volumes"]
    container = cpu["containers"][0]
    assert {"name": "policy", "mountPath": "/etc/springtide", "readOnly": True} in container["volumeMounts"]
    words = container["args"]
    assert words[words.index("--policy") + 1] == "/etc/springtide/policy.json"
    assert "--policy" not in gpu["containers"][0]["args"]


def test_it_comes_before_the_pods_and_goes_with_the_last_that_reads_it() -> None:
    kinds = list(children(pools=MIXED))
    assert kinds.index("ConfigMap/chat-runtime-policy") < kinds.index("Deployment/chat-gpu")
    assert not [one for one in children(runtime={"name": "VLLM"}) if one.startswith("ConfigMap/")]


def test_what_pods_do_not_act_on_is_told() -> None:
    def told(template: Any = None, **more: Any) -> str:
        service = model_service(spec(**more))
        plans = plan_pools(service, SETTINGS)
        return unheeded(service, [replace(plan, template=template or plan.template) for plan in plans])

    assert told() == told(**SAID) == told(pools=MIXED) == ""
    both = "spec.batching and spec.priorities can't be had with the runtime of pool gpu"
    assert told(pools=MIXED, **SAID) == both
    assert told(pools=MIXED, batching={}).startswith("spec.batching can't be had")
    old: dict[str, Any] = {"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}}
    assert told(old) == ""
    assert told(old, **SAID) == (
        "pool cpu takes spec.batching and spec.priorities from its next revision on, or with springtide.dev/restartedAt"
    )
