"""The forecaster with a real Prometheus, which has three days of traffic, and a real API server."""

import dataclasses
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kubernetes.aio import client, config

from springtide.api.trafficforecast import FORECASTER
from springtide.clients.kubernetes import KubernetesCluster
from springtide.clients.prometheus import Prometheus
from springtide.forecast.checkpoint import dump_checkpoint, load_checkpoint, pretrained
from springtide.forecast.ensemble import Ensemble
from springtide.forecast.horizon import DAY, Array
from springtide.forecaster.memory import Memory
from springtide.forecaster.metrics import Metrics
from springtide.forecaster.tick import LEARNED_MINUTES, Forecaster
from tests.api.policies import APPLY
from tests.api.support import (
    MODEL_SERVICES,
    TRAFFIC_FORECASTS,
    Api,
    Operator,
    Refused,
    account_kubeconfig,
    eventually,
)
from tests.signals.prometheus_process import PrometheusProcess
from tests.unit.test_chart import render

NOW = int(time.time()) // 60
FIRST = NOW - 3 * DAY
RAMP = NOW - 22  # the minute of the last day at which traffic rises, as on the days before


def traffic(minutes: Array) -> Array:
    """Return requests a second: 10, and each day up to 60 within five minutes, for two hours."""
    into = np.mod(minutes - RAMP, DAY)
    noise = np.random.default_rng(1).normal(1, 0.02, len(minutes))
    return np.asarray((10 + 50 * np.minimum(into / 5, 1) * (into < 120)) * noise)


def past(rates: dict[tuple[str, str], Array]) -> list[str]:
    """Return what the recording rules would have recorded of two pods of each service, in the OpenMetrics format."""
    lines: dict[str, list[str]] = {"requests:rate1m": [], "scraped:timestamp": []}
    for (namespace, service), values in rates.items():
        for pod in ("a", "b"):
            labels = f'{{namespace="{namespace}",service="{service}",pool="gpu",pod="{service}-{pod}",source="pod"}}'
            for minute, rate in enumerate(values, FIRST):
                at = 60 * (minute + 1)
                lines["requests:rate1m"].append(f"springtide:requests:rate1m{labels} {rate / 2:.4f} {at}")
                lines["scraped:timestamp"].append(f"springtide:scraped:timestamp{labels} {at} {at}")
    return [*(line for name, of in lines.items() for line in (f"# TYPE springtide:{name} gauge", *of)), "# EOF"]


@pytest.fixture(scope="module")
def services(api: Api) -> list[str]:
    """ModelServices: three have traffic, one has none."""
    names = ["chat", "live", "silent", "taken"]
    for name in names:
        api.create(name)
    return names


@pytest.fixture(scope="module")
def prometheus(api: Api, services: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    minutes = np.arange(FIRST, NOW + 15)
    rates = traffic(minutes)
    known = {(api.namespace, name): rates for name in services if name != "silent"}
    strangers = {("elsewhere", "chat"): 100 * rates, (api.namespace, "nobody"): rates}
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus"), past=past(known | strangers)) as process:
        yield process


@pytest.fixture(scope="module")
def account(api: Api, services: list[str], kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of a ServiceAccount with the rights that the chart gives the forecaster, and no others."""
    rules = render('prometheus={"url": "http://p:9090"}')["ClusterRole/system-springtide-forecaster"]["rules"]
    return account_kubeconfig(kubeconfig, api, "forecaster", rules, tmp_path_factory.mktemp("account") / "kubeconfig")


@pytest.fixture
async def cluster(account: Path) -> AsyncIterator[KubernetesCluster]:
    settings = client.Configuration()
    await config.load_kube_config(config_file=str(account), client_configuration=settings)  # type: ignore[no-untyped-call]
    made = KubernetesCluster(client.ApiClient(settings), lambda verb, kind, code: None, manager=FORECASTER)
    yield made
    await made.close()


class Bench:
    """A forecaster whose clock is set by hand."""

    def __init__(self, url: str, cluster: KubernetesCluster, api: Api, learned: int = 0) -> None:
        self.metrics = Metrics()
        self.memory = Memory(None, None, self.metrics.failed)
        prometheus = Prometheus(url, deadline_seconds=2)
        self.forecaster = Forecaster(prometheus, cluster, self.memory, self.metrics, [api.namespace], learned)

    async def see(self, minute: int) -> None:
        """Have it take in a minute, three seconds after its end."""
        await self.forecaster.tick(60 * (minute + 1) + 3)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"springtide_forecaster_{name}", labels) or 0.0


def version(api: Api, name: str) -> str:
    return str(api.get(TRAFFIC_FORECASTS, name)["metadata"]["resourceVersion"])


async def test_a_ramp_that_comes_back_is_foreseen(
    prometheus: PrometheusProcess, cluster: KubernetesCluster, api: Api
) -> None:
    bench = Bench(prometheus.url, cluster, api, LEARNED_MINUTES)
    await bench.see(RAMP - 10)
    await bench.see(RAMP - 8)
    assert sorted(bench.memory.ensemble.services) == sorted(
        f"{api.namespace}/{name}" for name in ("chat", "live", "taken")
    )
    assert bench.memory.ensemble.minute == RAMP - 8, "the minute between was asked for again"
    written = api.get(TRAFFIC_FORECASTS, "chat")
    owner = written["metadata"]["ownerReferences"][0]
    assert owner["uid"] == api.get(MODEL_SERVICES, "chat")["metadata"]["uid"]
    assert {one["manager"] for one in written["metadata"]["managedFields"]} == {FORECASTER}
    series = written["spec"]["series"]
    assert series["producer"] == FORECASTER
    assert datetime.fromisoformat(series["startsAt"]) == datetime.fromtimestamp(60 * (RAMP - 7), UTC)
    median, *_, p99 = (one["milliRequestsPerSecond"] for one in series["quantiles"])
    assert [one["thousandths"] for one in series["quantiles"]] == [500, 800, 900, 950, 990]
    assert len(median) == 15
    assert median[0] == pytest.approx(10_000, rel=0.2)
    assert median[14] > 30_000, median
    assert p99[14] > median[14]
    with pytest.raises(Refused, match="not found"):
        api.get(TRAFFIC_FORECASTS, "silent")


async def test_a_forecast_of_someone_else_is_left_alone(
    prometheus: PrometheusProcess, cluster: KubernetesCluster, api: Api
) -> None:
    bench = Bench(prometheus.url, cluster, api)
    mine = {"thousandths": 500, "milliRequestsPerSecond": [7000]}
    series = {"producer": "mine", "issuedAt": "2026-01-01T00:00:00Z", "quantiles": [mine]}
    body = {
        "apiVersion": "springtide.dev/v1alpha1",
        "kind": "TrafficForecast",
        "metadata": {"name": "taken"},
        "spec": {"serviceName": "taken", "series": series},
    }
    if "taken" in api.list(TRAFFIC_FORECASTS):
        api.delete(TRAFFIC_FORECASTS, "taken")
    api.call("PATCH", f"{TRAFFIC_FORECASTS}/taken", body, APPLY, fieldManager="mine")
    await bench.see(RAMP - 5)
    assert bench.count("faults_total", fault="Taken") == 1
    assert bench.count("written_total") == 2, "the others are written"
    assert api.get(TRAFFIC_FORECASTS, "taken")["spec"]["series"]["producer"] == "mine"


async def test_what_prometheus_does_not_tell_renews_nothing(
    prometheus: PrometheusProcess, cluster: KubernetesCluster, api: Api
) -> None:
    bench = Bench(prometheus.url, cluster, api)
    await bench.see(RAMP - 4)
    before = version(api, "chat")
    prometheus.freeze()
    try:
        await bench.see(RAMP - 3)
    finally:
        prometheus.thaw()
    assert bench.count("faults_total", fault="TimedOut") == 1
    await bench.see(NOW + 60)
    assert bench.count("faults_total", fault="Empty") == 1, "the clock is ahead of all that is known"
    await bench.see(RAMP - 5)
    assert bench.count("faults_total", fault="ClockJump") == 1
    assert version(api, "chat") == before
    assert bench.memory.ensemble.minute == RAMP - 4
    await bench.see(RAMP + 1)
    assert version(api, "chat") != before, "five minutes are over"
    await bench.see(RAMP - 60)
    assert bench.count("faults_total", fault="ClockJump") == 2
    assert bench.memory.ensemble.minute == RAMP - 60, "so far back it begins anew"
    down = Bench("http://127.0.0.1:1", cluster, api)
    await down.see(RAMP)
    assert down.count("faults_total", fault="Unreachable") == 1
    wrong = Bench(f"{prometheus.url}/wrong", cluster, api)
    await wrong.see(RAMP)
    assert wrong.count("faults_total", fault="Refused") == 1


async def test_services_that_are_gone_are_forgotten(
    prometheus: PrometheusProcess, cluster: KubernetesCluster, api: Api
) -> None:
    api.create("short")
    try:
        bench = Bench(prometheus.url, cluster, api)
        bench.memory.ensemble.recall(RAMP - 6, {f"{api.namespace}/short": [1.0], f"{api.namespace}/gone": [1.0]})
        await bench.see(RAMP - 5)
        assert f"{api.namespace}/short" in bench.memory.ensemble.services
        assert f"{api.namespace}/gone" not in bench.memory.ensemble.services
    finally:
        api.delete(MODEL_SERVICES, "short")
    await bench.see(RAMP - 4)
    assert f"{api.namespace}/short" not in bench.memory.ensemble.services


@contextmanager
def running(account: Path, prometheus: PrometheusProcess, api: Api, folder: Path) -> Iterator[Operator]:
    """Run the program; what is left of it at the end is killed."""
    options = {"namespace": api.namespace, "prometheus-url": prometheus.url, "state-dir": folder, "health-port": 0}
    options |= {"checkpoint": folder / "checkpoint.npz"}
    words = [f"--{name}={value}" for name, value in options.items()]
    log = folder / "log"
    with log.open("wb") as output:
        variables = os.environ | {"KUBECONFIG": str(account)}
        command = [sys.executable, "-m", "springtide.cli.forecaster", *words]
        process = subprocess.Popen(command, env=variables, stderr=output)
    try:
        yield Operator(process, log)
    finally:
        process.kill()
        process.wait()


def messages(process: Operator) -> str:
    return "\n".join(str(record["message"]) for record in process.records())


def test_what_is_learned_outlives_the_process(
    prometheus: PrometheusProcess, account: Path, api: Api, tmp_path: Path
) -> None:
    state, checkpoint = tmp_path / "state.npz", tmp_path / "checkpoint.npz"
    with running(account, prometheus, api, tmp_path) as process:
        eventually(state.exists, 60)
        metrics = process.metrics()
        assert metrics["springtide_forecaster_written_total", frozenset()] >= 2
        assert metrics["process_resident_memory_bytes", frozenset()] < 250 << 20
        process.process.send_signal(signal.SIGKILL)
        process.process.wait()
    with running(account, prometheus, api, tmp_path) as process:
        eventually(lambda: "the state of 3 services is restored" in messages(process), 30)
        eventually(lambda: "served on port" in messages(process), 30)
        assert process.stop() == 0
    state.write_bytes(state.read_bytes()[:5000])
    checkpoint.write_bytes(b"nonsense")
    with running(account, prometheus, api, tmp_path) as process:
        eventually(lambda: "served on port" in messages(process), 30)
        eventually(lambda: process.metric("springtide_forecaster_written_total") >= 2, 60)
        assert process.metric("springtide_forecaster_faults_total", fault="CorruptState") == 1
        assert process.metric("springtide_forecaster_faults_total", fault="CorruptCheckpoint") == 1
        assert process.metric("springtide_forecaster_pretrained") == 1
        assert process.stop() == 0
        said: list[dict[str, Any]] = [one for one in process.records() if one["level"] == "error"]
        assert len(said) == 2
        assert all("can't be used" in one["message"] for one in said)
    assert len(Ensemble.restore(state.read_bytes()).services) == 3
    assert not list(tmp_path.glob(".*")), "nothing unfinished is left"


async def test_training_replaces_a_bad_checkpoint_by_a_better_one(
    prometheus: PrometheusProcess, api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    pytest.importorskip("torch")
    from springtide.forecast.train import Plan
    from springtide.forecaster import training

    monkeypatch.setattr(training, "PLAN", Plan(steps=20, rate=5e-3, rows=3000))
    checkpoint, client = tmp_path / "checkpoint.npz", Prometheus(prometheus.url, deadline_seconds=20)
    network = pretrained().network
    mad = dataclasses.replace(network, output_bias=network.output_bias + np.float32(3))
    checkpoint.write_bytes(dump_checkpoint(dataclasses.replace(pretrained(), network=mad)))
    with caplog.at_level(logging.INFO):
        assert await training.train_once(client, checkpoint, 60 * NOW, days=3, most_services=3) == 0
    assert "learning from 12960 minutes of 3 of 5 services" in caplog.text
    assert "network: promoted" in caplog.text
    learned = load_checkpoint(checkpoint.read_bytes())
    assert not np.array_equal(learned.network.output_bias, mad.output_bias)
    checkpoint.write_bytes(b"nonsense")
    caplog.clear()
    assert await training.train_once(client, checkpoint, 60 * (FIRST - 9 * DAY), days=3, most_services=3) == 1
    assert "nothing is learned: Prometheus knows of no demand" in caplog.text
    assert checkpoint.read_bytes() == b"nonsense"
    assert training._present(checkpoint).network.skip.tolist() == network.skip.tolist()
    assert "can't be used" in caplog.text
