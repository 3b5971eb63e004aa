"""Which edits make a revision, and which template a revision has."""

import dataclasses
from typing import Any

import pytest

from springtide.manifests.revisions import KEPT, Record, plan_pools
from springtide.manifests.settings import Settings
from tests.unit.samples import SETTINGS, children_of, model_service

BASE: dict[str, Any] = {
    "model": {"uri": "hf://org/model"},
    "pools": [{"name": "cpu", "resources": {"requests": {"cpu": "1"}}}],
}


def revision(spec: dict[str, Any], restarted_at: str = "", settings: Settings = SETTINGS) -> str:
    return plan_pools(model_service(spec, restarted_at=restarted_at), settings)[0].revision


def with_pool(**more: Any) -> dict[str, Any]:
    return BASE | {"pools": [BASE["pools"][0] | more]}


NEW = [
    BASE | {"model": {"uri": "hf://org/other"}},
    BASE | {"model": {"uri": "hf://org/model", "revision": "v2"}},
    BASE | {"model": {"uri": "hf://org/model", "task": "Embed"}},
    BASE | {"model": {"uri": "hf://org/model", "credentialsSecretName": "token"}},
    BASE | {"cache": {"claimName": "models"}},
    BASE | {"precision": "BF16"},
    BASE | {"runtime": {"args": ["--max-queue", "9"]}},
    BASE | {"runtime": {"env": [{"name": "A", "value": "b"}]}},
    BASE | {"runtime": {"name": "VLLM", "image": "vllm:1"}},
    with_pool(model={"revision": "v2"}),
    with_pool(precision="BF16"),
    with_pool(runtime={"image": "mine:1"}),
    with_pool(accelerator={"type": "DevicePlugin", "resourceName": "nvidia.com/gpu"}),
    with_pool(resources={"requests": {"cpu": "2"}}),
    with_pool(nodeSelector={"a": "b"}),
    with_pool(tier="Offline"),
]
SAME = [
    BASE | {"replicas": 3},
    BASE | {"batching": {"maxBatchSize": 8}},
    BASE | {"priorities": [{"name": "gold", "reservedPercent": 50}]},
    BASE | {"model": {"uri": "hf://org/model", "task": "Generate"}},
    BASE | {"runtime": {"name": None, "args": []}},
    with_pool(replicas={"min": 2, "max": 4}),
    with_pool(update={"maxSurge": 2, "maxUnavailable": 1}),
    with_pool(tier="Fallback"),
    with_pool(resources={"requests": {"cpu": "1000m"}}),
    with_pool(model={"uri": "hf://org/model"}),
    BASE | {"pools": [*BASE["pools"], {"name": "other"}]},
]


@pytest.mark.parametrize("spec", NEW, ids=str)
def test_what_pods_depend_on_makes_a_revision(spec: dict[str, Any]) -> None:
    assert revision(spec) != revision(BASE)


@pytest.mark.parametrize("spec", SAME, ids=str)
def test_nothing_else_does(spec: dict[str, Any]) -> None:
    assert revision(spec) == revision(BASE)


def test_a_restart_makes_a_revision() -> None:
    assert revision(BASE, "2026-01-01T00:00:00Z") != revision(BASE)


def test_an_edit_of_what_a_pool_overrides_leaves_that_pool_alone() -> None:
    def small(uri: str) -> str:
        pools = [{"name": "gpu"}, {"name": "cpu", "model": {"uri": "hf://org/small"}}]
        return plan_pools(model_service({"model": {"uri": uri}, "pools": pools}), SETTINGS)[1].revision

    assert small("hf://org/large") == small("hf://org/larger")


def records(spec: dict[str, Any], settings: Settings = SETTINGS) -> list[Record]:
    (plan,) = plan_pools(model_service(spec), settings)
    return [Record("cpu", plan.revision, 1, plan.template)]


def test_another_operator_keeps_the_template() -> None:
    newer = dataclasses.replace(SETTINGS, model_server_image="springtide/model-server:0.2.0", packages_claim="torch")
    (before,) = plan_pools(model_service(BASE), SETTINGS)
    (after,) = plan_pools(model_service(BASE), newer, records(BASE))
    assert after.template == before.template
    assert after.image == "springtide/model-server:0.1.0"
    (edited,) = plan_pools(model_service(BASE | {"precision": "BF16"}), newer, records(BASE))
    assert edited.image == "springtide/model-server:0.2.0"


def test_a_recorded_image_outlives_the_operators_default() -> None:
    spec = BASE | {"runtime": {"name": "VLLM"}}
    with_default = dataclasses.replace(SETTINGS, images={"VLLM": "vllm:1"})
    (plan,) = plan_pools(model_service(spec), SETTINGS, records(spec, with_default))
    assert plan.image == plan.pool.runtime.image == "vllm:1"


def history(spec: dict[str, Any], kept: list[Record]) -> dict[str, int]:
    children = children_of(model_service(spec), records=kept)
    return {
        one["metadata"]["labels"]["springtide.dev/revision"]: one["revision"]
        for one in children
        if one["kind"] == "ControllerRevision"
    }


def test_history_is_ordered_and_bounded() -> None:
    old = [Record("cpu", f"r{number}", number, {"spec": {}}) for number in range(1, 8)]
    kept = history(BASE, old)
    assert kept == {revision(BASE): 8, "r7": 7, "r6": 6, "r5": 5, "r4": 4}
    assert len(kept) == KEPT


def test_a_rollback_takes_the_old_template_and_becomes_the_newest() -> None:
    old = dataclasses.replace(records(BASE)[0], template={"metadata": {}, "spec": {"containers": []}})
    newer = Record("cpu", "newer", 2, {"spec": {}})
    (plan,) = plan_pools(model_service(BASE), SETTINGS, [old, newer])
    assert plan.template == old.template
    assert history(BASE, [old, newer]) == {old.revision: 3, "newer": 2}


def test_nothing_changes_while_the_newest_stays_the_newest() -> None:
    assert history(BASE, records(BASE)) == {revision(BASE): 1}
