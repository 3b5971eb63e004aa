"""Replicas follow traffic: a real Prometheus scrapes small servers as if they were the pods of a real API server."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from springtide.scaling.tuning import TUNING
from tests.api.support import (
    DEPLOYMENTS,
    EVENTS,
    MODEL_SERVICES,
    PODS,
    TRAFFIC_FORECASTS,
    Api,
    Operator,
    after,
    eventually,
    operator_kubeconfig,
    running_operator,
)
from tests.signals.exporters import Exporter
from tests.signals.prometheus_process import PrometheusProcess
from tests.unit.forecast_specs import quantile, series

NAME = "chat"
MINUTES = 180.0
JOB = "springtide-model-servers"
POOL = {"name": "gpu", "replicas": {"min": 2, "max": 20}, "capacity": {"requestsPerSecond": "2"}}


class Fleet:
    """Makes pods ready, since no kubelet does, and shows the traffic that they have."""

    def __init__(self, api: Api, prometheus: PrometheusProcess, stack: contextlib.ExitStack) -> None:
        self._api, self._prometheus, self._stack = api, prometheus, stack
        self._exporters: dict[str, Exporter] = {}
        self._rate = 0.0
        self._done: dict[str, tuple[float, float]] = {}

    def serve(self, rate: float) -> None:
        """Have each pod asked for so many requests a second from now on."""
        for pod in self._exporters.values():
            self._count(pod)
        self._rate = rate

    def _count(self, pod: Exporter) -> float:
        done, at = self._done.get(pod.pod, (0.0, 0.0))
        done += self._rate * (pod.seconds - at)
        self._done[pod.pod] = done, pod.seconds
        return done

    def _text(self, pod: Exporter) -> str:
        labels = 'route="/v1/chat/completions",code="200"'
        done = self._count(pod)
        return (
            f"springtide_requests_total{{{labels}}} {done}\nspringtide_requests_in_flight 1\nspringtide_queue_depth 0\n"
        )

    def make_ready(self) -> int:
        """Make each pod ready and have it scraped; return how many there are."""
        pods = self._api.list(PODS, f"springtide.dev/service={NAME}")
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name, pod in pods.items():
            if any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ())):
                continue
            ready = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("PodScheduled", "Ready")]
            started = {"state": {"running": {"startedAt": now}}, "ready": True, "restartCount": 0, "started": True}
            containers = [
                started | {"name": one["name"], "image": one["image"], "imageID": "x", "containerID": "x://y"}
                for one in pod["spec"]["containers"]
            ]
            status = {"phase": "Running", "conditions": ready, "containerStatuses": containers}
            self._api.patch(f"{PODS}/{name}/status", {"status": status})
            if name not in self._exporters:
                exporter = Exporter(name, self._text, namespace=self._api.namespace, service=NAME, pool="gpu")
                self._exporters[name] = self._stack.enter_context(exporter)
        self._prometheus.scrape({JOB: [one for name, one in self._exporters.items() if name in pods]})
        return len(pods)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus")) as process:
        yield process


@pytest.fixture(scope="module")
def credentials(api: Api, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_kubeconfig(kubeconfig, api, tmp_path_factory.mktemp("credentials") / "kubeconfig")


@pytest.fixture(scope="module")
def start_operator(
    api: Api, credentials: Path, prometheus: PrometheusProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Operator]]:
    with contextlib.ExitStack() as stack:

        def start() -> Operator:
            log = tmp_path_factory.mktemp("operator") / "log"
            return stack.enter_context(
                running_operator(credentials, api.namespace, log, f"--prometheus-url={prometheus.url}")
            )

        yield start


@pytest.fixture(scope="module")
def operator(start_operator: Callable[[], Operator]) -> Operator:
    return start_operator()


@pytest.fixture(scope="module")
def fleet(api: Api, operator: Operator, prometheus: PrometheusProcess) -> Iterator[Fleet]:
    """Two pods that serve a little."""
    with contextlib.ExitStack() as stack:
        made = Fleet(api, prometheus, stack)
        made.serve(0.5)
        api.create(NAME, pools=[POOL])
        eventually(lambda: made.make_ready() == 2)
        yield made


def pool(api: Api) -> dict[str, Any]:
    return next(iter(api.status(NAME).get("pools", ())), {})


def pinned(api: Api, replicas: int, meanwhile: Callable[[], bool] = lambda: True) -> None:
    """Pin the service to so many replicas, for as long as it takes."""
    api.edit(NAME, {"replicas": replicas})
    eventually(lambda: api.get(DEPLOYMENTS, f"{NAME}-gpu")["spec"]["replicas"] == replicas, 30)
    eventually(meanwhile, 60)
    api.edit(NAME, {"replicas": None})
    eventually(lambda: scaled(api)[1] != "Pinned", 30)


def accepted(api: Api, name: str) -> bool:
    return bool(api.condition(name, "Accepted").get("status") == "True")


def settled(api: Api, fleet: Fleet) -> int:
    """Make pods ready until no more are wanted; return how many there are."""
    eventually(lambda: fleet.make_ready() and scaled(api) == ("True", "TargetReached"), MINUTES)
    return int(pool(api)["desired"])


def scaled(api: Api) -> tuple[str, str]:
    found = api.condition(NAME, "Scaled")
    return found.get("status", ""), found.get("reason", "")


def test_traffic_raises_the_target(api: Api, fleet: Fleet, operator: Operator) -> None:
    assert settled(api, fleet) == 2
    fleet.serve(5)  # each of the two: five replicas' worth
    eventually(lambda: pool(api)["desired"] >= 5, MINUTES)
    eventually(lambda: api.get(DEPLOYMENTS, f"{NAME}-gpu")["spec"]["replicas"] == pool(api)["desired"])
    decision = api.status(NAME)["scaling"]["decisions"][0]
    assert decision["reason"] == "LoadRises"
    assert {one["name"] for one in decision["inputs"]} >= {"rate", "needed", "utilization"}
    eventually(lambda: [one for one in api.list(EVENTS).values() if one["reason"] == "LoadRises"])
    labels = {"namespace": api.namespace, "service": NAME, "pool": "gpu"}
    eventually(lambda: operator.metric("springtide_scaling_target_replicas", **labels) == pool(api)["desired"], 60)
    assert operator.metric("springtide_prometheus_up") == 1


def test_what_runs_stays_when_the_status_is_deleted(
    api: Api, fleet: Fleet, operator: Operator, start_operator: Callable[[], Operator]
) -> None:
    enough = 12

    def read(operator: Operator, name: str) -> float:
        return operator.metric("springtide_scaling_input", namespace=api.namespace, service=NAME, input=name)

    def reached() -> int:
        # As many requests as the newest decision would start the last replica for, whatever headroom is by now.
        each = float(pool(api)["capacity"]) * read(operator, "utilization") * read(operator, "rate")
        fleet.serve((enough - 0.65) * each / read(operator, "needed") / fleet.make_ready())
        found = pool(api)
        return int(found["ready"]) if found["ready"] == found["desired"] >= enough else 0

    def lose_the_status() -> None:
        api.call("PATCH", f"{MODEL_SERVICES}/{NAME}/status", {"status": None}, "application/merge-patch+json")

    replicas = eventually(reached, MINUTES)
    version = api.get(DEPLOYMENTS, f"{NAME}-gpu")["metadata"]["generation"]
    fleet.serve(0.1)
    lose_the_status()
    eventually(lambda: pool(api).get("desired") == replicas, 60)
    eventually(lambda: read(operator, "rate") < 2, MINUTES)
    assert operator.stop() == 0
    lose_the_status()
    restarted = start_operator()
    held = {"namespace": api.namespace, "service": NAME, "reason": "Held"}
    eventually(lambda: restarted.metric("springtide_scaling_reason", **held) == 1, 60)
    assert read(restarted, "needed") < 2 * read(restarted, "rate") < 4, "it knows that few are needed"
    time.sleep(2 * TUNING.tick)
    assert restarted.metric("springtide_scaling_reason", **held) == 1
    assert pool(api)["desired"] == pool(api)["ready"] == replicas
    assert api.get(DEPLOYMENTS, f"{NAME}-gpu")["metadata"]["generation"] == version, "it was never asked for less"


def test_without_prometheus_replicas_are_held(api: Api, fleet: Fleet, prometheus: PrometheusProcess) -> None:
    target = pool(api)["desired"]
    prometheus.kill()
    try:
        eventually(lambda: scaled(api) == ("Unknown", "MetricsStale"), MINUTES)
        assert "Prometheus: Unreachable" in api.condition(NAME, "Scaled")["message"]
        assert pool(api)["desired"] >= target
        api.edit(NAME, {"pools": [POOL | {"replicas": {"min": target + 2, "max": 20}}]})
        eventually(lambda: pool(api)["desired"] == target + 2)
    finally:
        prometheus.start()
    eventually(lambda: scaled(api)[1] != "MetricsStale", MINUTES)


def test_a_hung_prometheus_delays_no_reconcile(api: Api, fleet: Fleet, prometheus: PrometheusProcess) -> None:
    prometheus.freeze()
    try:
        for name in ("one", "two", "three"):
            api.create(name)
            eventually(functools.partial(accepted, api, name), 10)
    finally:
        prometheus.thaw()


def test_a_pin_holds_against_traffic_and_ends_where_it_was(api: Api, fleet: Fleet) -> None:
    api.edit(NAME, {"pools": [POOL]})
    pinned(api, 3, lambda: fleet.make_ready() == 3 and scaled(api) == ("True", "Pinned"))
    assert pool(api)["desired"] == 3, "it goes on from what runs"


def test_what_is_announced_raises_the_target_and_what_is_absurd_does_not(api: Api, fleet: Fleet) -> None:
    settled(api, fleet)
    api.forecast("absurd", **series(quantile(500, *[1_000_000] * 30), issuedAt=after(0)))
    eventually(lambda: api.verdict("absurd") == ("Accepted", "Doubted"), 60)
    later = {"startsAt": after(50), "endsAt": after(60), "multiplier": "1.5"}
    api.forecast("later", announcement=later)
    eventually(lambda: api.get(TRAFFIC_FORECASTS, "later")["status"].get("baselineMilliRequestsPerSecond", 0) > 0, 60)
    eventually(lambda: api.verdict("later") == ("Accepted", "NotStarted"))
    assert pool(api)["desired"] < 15
    api.forecast("launch", announcement={"startsAt": after(1), "endsAt": after(60), "requestsPerSecond": 30})
    eventually(lambda: pool(api)["desired"] >= 15, 60)
    eventually(lambda: api.verdict("launch") == ("Accepted", "Used"))
    assert api.status(NAME)["scaling"]["decisions"][0]["reason"] == "AnnouncementRises"
    for name in ("absurd", "later", "launch"):
        api.delete(TRAFFIC_FORECASTS, name)
    pinned(api, 3)


def test_off_leaves_replicas_and_observe_only_recommends(api: Api, fleet: Fleet) -> None:
    held = settled(api, fleet)
    api.edit(NAME, {"scaling": {"mode": "Observe"}})
    fleet.serve(9)
    eventually(lambda: pool(api).get("recommended", 0) >= 3 * held, MINUTES)
    assert pool(api)["desired"] == held
    assert api.status(NAME)["scaling"]["decisions"][0]["mode"] == "Observe"
    api.edit(NAME, {"scaling": {"mode": "Off"}})
    eventually(lambda: scaled(api) == ("True", "Off"), 30)
    assert pool(api)["desired"] == held
