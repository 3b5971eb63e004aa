"""What became of TrafficForecasts is written where it differs, and what fails is told."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from springtide.api.errors import Conflict, Missing, SpringtideError
from springtide.clients.cluster import TRAFFIC_FORECAST, Cluster, Kind, Object
from springtide.controllers.cache import Cache
from springtide.controllers.verdicts import Verdicts
from springtide.scaling.statements import Verdict
from springtide.status.forecasts import NO_PLAN, NO_SERVICE
from tests.unit.forecast_specs import NAME, ONE, series

KEY = ("team-a", "chat")
USED = Verdict(True, "Used", "scaling reads it")


class StatusCluster:
    """Takes statuses as an API server does; fails for the names that it is told."""

    def __init__(self, **failures: SpringtideError) -> None:
        self.failures = failures
        self.sent: list[Mapping[str, Any]] = []

    async def patch_status(self, kind: Kind, desired: Mapping[str, Any]) -> Object:
        self.sent.append(desired)
        if failure := self.failures.get(desired["metadata"]["name"]):
            raise failure
        return live(desired["metadata"]["name"], int(desired["metadata"]["resourceVersion"]) + 1, desired["status"])


def live(name: str, version: int = 1, status: Any = None, **more: Any) -> Object:
    fields: dict[str, Any] = {"f:status": {f"f:{field}": {} for field in status}} if status else {}
    entry = {"manager": "springtide", "operation": "Apply", "subresource": "status", "fieldsV1": fields}
    metadata = {"namespace": KEY[0], "name": name, "uid": f"u-{name}", "resourceVersion": str(version), "generation": 1}
    return {
        "metadata": metadata | {"managedFields": [entry]} | more,
        "spec": NAME | series(ONE),
        "status": status or {},
    }


async def report(
    cluster: StatusCluster, cache: Cache, verdicts: Mapping[str, Verdict], otherwise: Verdict | None = None
) -> SpringtideError | None:
    made = Verdicts(cast(Cluster, cluster), cache, lambda: "2026-01-01T00:00:00Z")
    return await made.report(KEY, verdicts, otherwise)


def cache_of(*objects: Object) -> Cache:
    cache = Cache()
    for one in objects:
        cache.put(TRAFFIC_FORECAST, one)
    return cache


def used(sent: Mapping[str, Any]) -> str:
    return str(next(one["reason"] for one in sent["status"]["conditions"] if one["type"] == "Used"))


async def test_each_is_told_once() -> None:
    cluster, cache = StatusCluster(), cache_of(live("a"), live("b"))
    verdicts = {"a": USED, "b": Verdict(False, "Expired", "over")}
    assert await report(cluster, cache, verdicts) is None
    assert [(one["metadata"]["name"], used(one)) for one in cluster.sent] == [("a", "Used"), ("b", "Expired")]
    assert cluster.sent[0]["metadata"] == {"name": "a", "namespace": "team-a", "uid": "u-a", "resourceVersion": "1"}
    await report(cluster, cache, verdicts)
    assert len(cluster.sent) == 2


@pytest.mark.parametrize(
    ("otherwise", "reasons"), [(None, []), (NO_SERVICE, [NO_SERVICE.reason]), (NO_PLAN, [NO_PLAN.reason])]
)
async def test_one_without_a_verdict(otherwise: Verdict | None, reasons: list[str]) -> None:
    cluster = StatusCluster()
    await report(cluster, cache_of(live("late")), {}, otherwise)
    assert [used(one) for one in cluster.sent] == reasons


async def test_what_can_not_be_read_is_told_whatever_comes_of_the_others() -> None:
    cluster = StatusCluster()
    await report(cluster, cache_of(live("odd") | {"spec": NAME}), {})
    assert [used(one) for one in cluster.sent] == ["InvalidSpec"]


async def test_a_failure_keeps_no_other_from_being_told() -> None:
    conflict = Conflict("changed")
    cluster = StatusCluster(a=conflict, b=Missing("gone"))
    cache = cache_of(live("a"), live("b"), live("c"), live("d", deletionTimestamp="2026-01-01T00:00:00Z"))
    assert await report(cluster, cache, {}, NO_SERVICE) is conflict
    assert [one["metadata"]["name"] for one in cluster.sent] == ["a", "b", "c"], "what is being deleted is let go"
    assert await report(StatusCluster(b=Missing("gone")), cache_of(live("b")), {}, NO_SERVICE) is None
