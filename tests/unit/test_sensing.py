"""What the operator remembers of the services that scale, from round to round and over its own restart."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from springtide.clients.cluster import MODEL_SERVICE, POD
from springtide.controllers.cache import Cache, Entry, Name, Written
from springtide.controllers.metrics import Metrics
from springtide.controllers.queue import WorkQueue
from springtide.controllers.scaling_metrics import ScalingCollector
from springtide.controllers.sensing import NOT_CONFIGURED, Sensing
from springtide.scaling.decide import decide
from springtide.scaling.observed import Observed, PoolSeen, Traffic
from springtide.scaling.settings import PoolLimits, ScalingSettings
from springtide.signals.answers import Answer, Failure
from springtide.signals.records import RECORDS
from springtide.signals.values import Key
from tests.unit.signals.support import NOW, answers

KEY = ("team-a", "chat")
SPEC: dict[str, Any] = {"pools": [{"name": "gpu", "replicas": {"max": 9}, "capacity": {"requestsPerSecond": "2"}}]}
DOWN = dict.fromkeys(RECORDS, Failure("Unreachable", "connection refused"))


class Told:
    """Answers as it is told to."""

    def __init__(self, made: Mapping[str, Answer] = DOWN) -> None:
        self.answers = dict(made)

    async def ask(self, questions: Mapping[str, str]) -> dict[str, Answer]:
        assert len(questions) <= 10
        return self.answers


class Scene:
    """An operator's view of one service with two ready pods."""

    def __init__(self, prometheus: Told | None, status: Any = None) -> None:
        self.cache, self.queue = Cache(), WorkQueue[Name]()
        self.now, self._version = 0.0, 1
        self.write(SPEC, status)
        for pod in ("a", "b"):
            self.cache.put(POD, live_pod(pod))
        self.sensing = Sensing(prometheus, self.cache, self.queue, lambda: NOW, lambda: self.now)

    def write(self, spec: Any, status: Any = None) -> None:
        self._version += 1
        metadata = {"namespace": KEY[0], "name": KEY[1], "uid": "u", "resourceVersion": str(self._version)}
        self.cache.put(MODEL_SERVICE, {"metadata": metadata | {"generation": 1}, "spec": spec, "status": status or {}})

    @property
    def entry(self) -> Entry[Written]:
        found = self.cache.model_services.get(KEY)
        assert found is not None
        return found


def live_pod(name: str) -> dict[str, Any]:
    labels = {"springtide.dev/service": "chat", "springtide.dev/pool": "gpu"}
    metadata = {"namespace": KEY[0], "name": name, "uid": name, "resourceVersion": "1", "labels": labels}
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}
    return {"metadata": metadata, "status": {"conditions": [ready]}}


def traffic(rate: float, **more: float) -> dict[str, Answer]:
    signals = {"requests": rate, "served": rate, **more}
    return answers({name: {"a": value, "b": value} for name, value in signals.items()}, key=Key(*KEY, "gpu"))


async def test_signals_are_read_and_age() -> None:
    scene = Scene(Told(traffic(1.5)))
    assert scene.sensing.senses(scene.entry).unread
    await scene.sensing.sense()
    assert len(scene.queue) == 1
    scene.now = 7.0
    senses = scene.sensing.senses(scene.entry)
    requests = senses.signals["gpu"].requests
    assert requests is not None
    assert (requests.value, senses.elapsed, senses.trouble, senses.unread) == (3.0, 7.0, "", False)


async def test_what_does_not_scale_is_not_decided_on() -> None:
    scene = Scene(Told())
    scene.write({"pools": [{"name": "gpu"}]})
    await scene.sensing.sense()
    assert not len(scene.queue)


async def test_decisions_go_on_while_prometheus_is_down() -> None:
    prometheus = Told(traffic(1.5))
    scene = Scene(prometheus)
    await scene.sensing.sense()
    prometheus.answers = dict(DOWN)
    await scene.queue.get()
    scene.queue.done(KEY)
    scene.now = 30.0
    await scene.sensing.sense()
    assert len(scene.queue) == 1
    senses = scene.sensing.senses(scene.entry)
    assert (senses.elapsed, senses.trouble) == (30.0, "Prometheus: Unreachable")
    assert senses.signals["gpu"].requests, "the last word stays, and grows old"
    assert scene.sensing.failure is not None


async def test_an_error_of_its_own_is_counted_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    asked = asyncio.Event()

    class Broken(Told):
        async def ask(self, questions: Mapping[str, str]) -> dict[str, Answer]:
            asked.set()
            raise ZeroDivisionError

    scene, metrics = Scene(Broken()), Metrics()
    ScalingCollector(scene.sensing, metrics.registry)
    assert metrics.registry.get_sample_value("springtide_sensing_errors_total") == 0
    task = asyncio.create_task(scene.sensing.keep_sensing())
    await asyncio.wait_for(asked.wait(), 10)
    assert not task.done()
    task.cancel()
    assert metrics.registry.get_sample_value("springtide_sensing_errors_total") == 1
    assert "ZeroDivisionError" in caplog.text


def test_no_prometheus_is_told() -> None:
    scene = Scene(None)
    senses = scene.sensing.senses(scene.entry)
    assert (senses.trouble, senses.unread) == (NOT_CONFIGURED, False)


async def test_capacity_is_learned_and_forgotten_with_the_prior() -> None:
    scene = Scene(Told(traffic(3.0, queue=9)))
    for _ in range(5):
        await scene.sensing.sense()
    learned = scene.sensing.senses(scene.entry).capacities["gpu"].estimate
    assert learned is not None
    assert 2.0 < learned <= 3.0
    scene.write({"pools": [SPEC["pools"][0] | {"capacity": {"requestsPerSecond": "8"}}]})
    assert scene.sensing.senses(scene.entry).capacities["gpu"].estimate == 8.0


async def test_another_revision_makes_what_was_learned_a_prior() -> None:
    revision = {"pools": [{"name": "gpu", "desired": 2, "revision": "one"}]}
    scene = Scene(Told(traffic(3.0, queue=9)), revision)
    for _ in range(20):
        await scene.sensing.sense()
    before = scene.sensing.senses(scene.entry).capacities["gpu"]
    scene.write(SPEC, {"pools": [{"name": "gpu", "desired": 2, "revision": "two"}]})
    after = scene.sensing.senses(scene.entry).capacities["gpu"]
    assert after.estimate == before.estimate
    assert after.weight < before.weight


async def test_a_restart_goes_on_from_the_status() -> None:
    learned = [{"name": "safety", "value": "-0.5"}, {"name": "load", "value": "12"}]
    status = {"pools": [{"name": "gpu", "desired": 2, "capacity": "3.5"}], "scaling": {"learned": learned}}
    senses = Scene(Told(), status).sensing
    scene = Scene(Told(), status)
    found = scene.sensing.senses(scene.entry)
    assert found.capacities["gpu"].estimate == 3.5
    assert found.state is not None
    assert (found.state.safety.factor, found.state.safety.load, found.state.since) == (-0.5, 12.0, NOW)
    assert senses.decisions == {}


async def test_a_round_of_signals_teaches_once() -> None:
    scene = Scene(Told(traffic(1.5)))
    await scene.sensing.sense()
    settings = ScalingSettings((PoolLimits("gpu", 1, 9),))
    seen = Observed(NOW, Traffic((3.0,), queue=0.0), {"gpu": PoolSeen(2, capacity=2.0, target=2)})
    first = decide(seen, settings, None)
    scene.sensing.keep(scene.entry, first)
    scene.sensing.keep(scene.entry, decide(seen, settings, first.state))
    assert scene.sensing.senses(scene.entry).state == first.state
    await scene.sensing.sense()
    second = decide(seen, settings, first.state)
    scene.sensing.keep(scene.entry, second)
    assert scene.sensing.senses(scene.entry).state == second.state
    assert scene.sensing.decisions == {KEY: second}


async def test_a_service_that_is_gone_is_forgotten() -> None:
    scene = Scene(Told(traffic(1.5)))
    await scene.sensing.sense()
    seen = Observed(NOW, Traffic((3.0,)), {"gpu": PoolSeen(2, capacity=2.0, target=2)})
    scene.sensing.keep(scene.entry, decide(seen, ScalingSettings((PoolLimits("gpu", 1, 9),))))
    assert scene.sensing.decisions
    scene.cache.model_services.remove(KEY, 99)
    await scene.sensing.sense()
    assert scene.sensing.decisions == {}
