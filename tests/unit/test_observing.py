"""What scaling is given of a service."""

from dataclasses import replace
from math import inf, isnan, nan
from typing import Any

import pytest

from springtide.controllers.observing import Senses, observe, traffic, week_minutes
from springtide.controllers.sensing import scales
from springtide.scaling.observed import Observed
from springtide.scaling.resolve import scaling_settings
from springtide.signals.capacity import Capacity
from springtide.signals.starts import Start
from springtide.signals.values import Reading, Signals
from springtide.status.observed import ObservedDeployment, ObservedPod
from tests.unit.samples import model_service

NOTHING = Senses()
SPEC: dict[str, Any] = {
    "model": {"uri": "oci://r.example/m:v1"},
    "pools": [
        {"name": "gpu", "replicas": {"max": 9}},
        {"name": "cpu", "tier": "Fallback"},
        {"name": "b", "tier": "Offline"},
    ],
}
NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z, a Thursday


def signals(rate: float | None = 4.0, age: float = 3.0, ready: int = 1, **more: float) -> Signals:
    readings: dict[str, Any] = {name: Reading(value, age) for name, value in more.items()}
    requests = None if rate is None else Reading(rate, age)
    return replace(Signals(requests=requests, ready=ready), **readings)


def seen(pods: list[ObservedPod], senses: Senses = NOTHING, status: Any = None, **deployments: int) -> Observed:
    service = model_service(SPEC)
    live = {name: ObservedDeployment(target=target) for name, target in deployments.items()}
    return observe(service, scaling_settings(service), live, pods, status or {}, senses, NOW)


def pod(name: str, pool: str = "gpu", **more: Any) -> ObservedPod:
    return ObservedPod(name, pool, online=True, created=NOW - 40, **more)


def test_replicas_are_counted_by_what_they_do() -> None:
    pods = [pod("a", ready=True), pod("b"), pod("c", ready=True, deleting=True), pod("d", "b", ready=True)]
    found = seen([*pods, replace(pod("e"), created=nan)]).pools
    assert set(found) == {"gpu", "cpu"}, "an Offline pool has no part in it"
    assert (found["gpu"].ready, found["gpu"].loading) == (1, (0.0, 40.0))


def test_the_target_is_the_recorded_one_else_that_of_the_workload() -> None:
    status = {"pools": [{"name": "gpu", "desired": 4}]}
    found = seen([], status=status, gpu=12, cpu=2).pools
    assert (found["gpu"].target, found["cpu"].target) == (4, 2)
    assert seen([], gpu=12).pools["gpu"].target == 12
    assert seen([]).pools["gpu"].target is None


def test_what_was_learned_is_passed_on() -> None:
    start = Start(1, 2, 3, 4, 5)
    found = seen([pod("a", ready=True, start=start)], Senses(capacities={"gpu": Capacity(1.5)}))
    assert found.pools["gpu"].capacity == 1.5
    assert found.ready_seconds == (15, 15)
    assert isnan(seen([]).ready_seconds[0])
    assert isnan(seen([]).pools["gpu"].capacity)


def test_pools_add_up() -> None:
    pools = {"gpu": signals(4, queue=2, latency=1), "cpu": signals(1, age=9, queue=1, latency=3)}
    found = traffic(pools, None, "latency", 5.0)
    assert (found.rates, found.queue, found.latency, found.age) == ((5.0,), 3.0, 3.0, 14.0)
    assert isnan(found.in_flight)


@pytest.mark.parametrize(
    ("pools", "gateway", "rates"),
    [
        ({"gpu": signals(4), "cpu": signals(None)}, None, ()),
        ({"gpu": signals(4), "cpu": signals(None, ready=0)}, None, (4.0,)),
        ({"gpu": signals(4)}, signals(6), (6.0,)),
        ({"gpu": signals(None)}, signals(6), (6.0,)),
        ({"gpu": signals(4)}, signals(None), (4.0,)),
        ({}, None, ()),
    ],
)
def test_one_unknown_part_leaves_the_whole_unknown(
    pools: dict[str, Signals], gateway: Signals | None, rates: tuple[float, ...]
) -> None:
    assert traffic(pools, gateway, "latency", 0.0).rates == rates


def test_nothing_was_ever_read() -> None:
    assert traffic({"gpu": signals(None)}, None, "latency", inf).age == inf


def test_weeks_begin_on_monday_there() -> None:
    found = week_minutes({"UTC", "Asia/Tokyo", "Nowhere/At_All"}, NOW)
    assert found == {"UTC": 3 * 1440, "Asia/Tokyo": 3 * 1440 + 9 * 60}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"pools": [{"name": "a", "replicas": {"max": 2}}]}, True),
        ({"pools": [{"name": "a", "replicas": {"min": 2}}]}, False),
        ({"pools": [{"name": "a"}]}, False),
        ({"pools": [{"name": "a", "tier": "Offline", "replicas": {"max": 2}}]}, False),
        ({"pools": [{"name": "a", "replicas": {"max": 2}}], "scaling": {"mode": "Off"}}, False),
        ({}, False),
    ],
)
def test_which_services_scale(spec: dict[str, Any], wanted: bool) -> None:
    assert scales(spec) is wanted
