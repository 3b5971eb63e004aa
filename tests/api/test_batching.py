"""Batching and priorities against a real API server: a ConfigMap follows them, and nothing else does."""

import json
from typing import Any

import pytest

from tests.api.policies import APPLY
from tests.api.support import CONFIG_MAPS, DEPLOYMENTS, MODEL_SERVICES, REVISIONS, Api, Operator, eventually

pytestmark = pytest.mark.usefixtures("operator")

GOLD = [{"name": "gold", "reservedPercent": 30}, {"name": "rest"}]


def policy(api: Api, name: str) -> Any:
    return json.loads(api.get(CONFIG_MAPS, f"{name}-runtime-policy")["data"]["policy.json"])


def recorded(api: Api, name: str) -> bool:
    """Tell whether everything is made: the record of the revision comes last."""
    return bool(api.list(REVISIONS, f"springtide.dev/service={name}"))


def versions(api: Api, name: str) -> dict[str, str]:
    """Return what else there is of a service, and what it was when it was written last."""
    others = {key: version for key, version in api.versions().items() if f" {name}" in key}
    return {key: one for key, one in others.items() if not key.startswith((MODEL_SERVICES, CONFIG_MAPS))}


def test_an_edit_reaches_the_config_map_and_no_other_object(api: Api, operator: Operator) -> None:
    api.create("fast")
    eventually(lambda: recorded(api, "fast") and policy(api, "fast") == {})
    live = api.get(DEPLOYMENTS, "fast-cpu")
    eventually(lambda: api.get(DEPLOYMENTS, "fast-cpu").get("status", {}).get("unavailableReplicas") == 1)
    before, revision = versions(api, "fast"), api.status("fast")["pools"][0]["revision"]

    api.edit("fast", {"batching": {"maxBatchSize": 8}})
    eventually(lambda: policy(api, "fast") == {"batching": {"maxBatchSize": 8}})
    api.edit("fast", {"priorities": GOLD})
    eventually(lambda: policy(api, "fast") == {"batching": {"maxBatchSize": 8}, "priorities": GOLD})
    api.edit("fast", {"batching": None, "priorities": [GOLD[0]]})
    eventually(lambda: policy(api, "fast") == {"priorities": [GOLD[0]]})
    generation = api.get(MODEL_SERVICES, "fast")["metadata"]["generation"]
    eventually(lambda: api.status("fast")["observedGeneration"] == generation)

    assert versions(api, "fast") == before
    assert api.get(DEPLOYMENTS, "fast-cpu")["metadata"]["generation"] == live["metadata"]["generation"]
    assert api.status("fast")["pools"][0]["revision"] == revision


def test_the_order_of_priorities_is_theirs_who_apply(api: Api) -> None:
    def applied(*names: str) -> None:
        spec = {
            "model": {"uri": "oci://models.springtide.dev/chat:v1"},
            "pools": [{"name": "cpu"}],
            "priorities": [{"name": name} for name in names],
        }
        metadata = {"name": "order"}
        body = {"apiVersion": "springtide.dev/v1alpha1", "kind": "ModelService", "metadata": metadata, "spec": spec}
        api.call("PATCH", f"{MODEL_SERVICES}/order", body, APPLY, fieldManager="someone", force="true")

    for names in ("a", "b", "c"), ("c", "a"), ("a", "b", "c"), ("b", "c", "a", "d"):
        applied(*names)
        eventually(lambda names=names: [one["name"] for one in policy(api, "order")["priorities"]] == [*names])  # type: ignore[misc]


def test_it_goes_with_the_last_pool_that_reads_it(api: Api) -> None:
    def there() -> bool:
        return bool(api.list(CONFIG_MAPS, "springtide.dev/service=gone"))

    api.create("gone", batching={"maxBatchSize": 8})
    eventually(lambda: recorded(api, "gone") and there())
    custom = {"name": "Custom", "image": "custom:1"}
    api.edit("gone", {"pools": [{"name": "cpu"}, {"name": "own", "runtime": custom}]})
    eventually(lambda: "can't be had with the runtime of pool own" in api.condition("gone", "Accepted")["message"])
    assert there()
    api.edit("gone", {"batching": None, "runtime": custom})
    eventually(lambda: not there())
    api.edit("gone", {"runtime": None})
    eventually(there)


def test_a_config_map_of_someone_else_is_not_touched(api: Api) -> None:
    theirs = api.call("POST", CONFIG_MAPS, {"metadata": {"name": "theirs-runtime-policy"}, "data": {"a": "b"}})
    api.create("theirs")
    refused = eventually(lambda: api.condition("theirs", "Accepted"))
    assert (refused["status"], refused["reason"]) == ("False", "NameConflict")
    assert "ConfigMap theirs-runtime-policy" in refused["message"]
    assert api.get(CONFIG_MAPS, "theirs-runtime-policy") == theirs
