"""Signals from a real Prometheus that has the chart's own rules and scrapes small servers as if they were pods."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from springtide.clients.prometheus import Prometheus
from springtide.signals.answers import Answer, Failure
from springtide.signals.read import read
from springtide.signals.records import RECORDS
from springtide.signals.values import Key, Pool, Signals
from tests.signals.exporters import Exporter
from tests.signals.prometheus_process import PrometheusProcess

CHAT = Key("team-a", "chat", "gpu")
# The annotations of the pods make another job scrape them, as in many clusters.
ANNOTATED = {
    "job_name": "kubernetes-pods",
    "relabel_configs": [
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ],
}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus"), ANNOTATED) as process:
        yield process


@pytest.fixture
def pods() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


async def ask(prometheus: PrometheusProcess, seconds: float = 20.0) -> dict[str, Answer]:
    return await Prometheus(prometheus.url, deadline_seconds=seconds).ask(RECORDS)


async def until(
    prometheus: PrometheusProcess, pools: dict[Key, Pool], met: Callable[[dict[Key, Signals]], bool]
) -> dict[Key, Signals]:
    """Ask until the signals are as they should be; fail with the last ones after a minute and a half."""
    found: dict[Key, Signals] = {}
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(90):
            while not found or not met(found):
                await asyncio.sleep(0.3)
                found = read(await ask(prometheus), pools)
    assert met(found), found
    return found


def ready(*pods: str, typical: dict[str, float] | None = None) -> Pool:
    return Pool(dict.fromkeys(pods, 3600.0), typical or {})


def gauges(**values: object) -> Callable[[Exporter], str]:
    """Metrics of a ModelServer; what is callable is called at each scrape with the seconds that the pod has run."""
    names = {"queue": "springtide_queue_depth", "in_flight": "springtide_requests_in_flight"}
    names |= {"tokens": "springtide_generation_tokens_total", "kv": "vllm:kv_cache_usage_perc"}

    def text(pod: Exporter) -> str:
        now = {name: value(pod.seconds) if callable(value) else value for name, value in values.items()}
        return "".join(f"{names[name]} {value}\n" for name, value in now.items())

    return text


def number(signals: Signals, name: str) -> float:
    reading = signals.readings.get(name)
    return -1.0 if reading is None else reading.value


async def test_nobody_is_scraped(prometheus: PrometheusProcess) -> None:
    prometheus.scrape({})
    found = await until(prometheus, {CHAT: ready("a")}, lambda found: not found[CHAT].seen)
    assert not found[CHAT].readings
    assert [doubt.reason for doubt in found[CHAT].doubts] == ["Stale"]


async def test_pods_of_all_runtimes(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    ours = pods.enter_context(Exporter("ours", gauges(queue=1, in_flight=2, kv=0.2)))
    vllm = "vllm:num_requests_running 4\nvllm:num_requests_waiting 3\nvllm:kv_cache_usage_perc 0.4\n"
    theirs = pods.enter_context(Exporter("vllm", lambda _: vllm))
    sglang = "sglang:num_running_reqs 5\nsglang:num_queue_reqs 6\nsglang:token_usage 0.6\n"
    other = pods.enter_context(Exporter("sglang", lambda _: sglang, path="/own/metrics"))
    not_http = pods.enter_context(Exporter("ours", gauges(queue=1000), port_name="admin"))
    prometheus.scrape({"springtide-model-servers": [ours, theirs, other, not_http]})
    found = await until(
        prometheus,
        {CHAT: ready("ours", "vllm", "sglang")},
        lambda found: found[CHAT].seen == 3 and number(found[CHAT], "queue") == 10 and not found[CHAT].doubts,
    )
    assert number(found[CHAT], "in_flight") == 20
    assert number(found[CHAT], "kv") == pytest.approx(0.4)
    assert not found[CHAT].doubts
    assert all(reading.age < 60 for reading in found[CHAT].readings.values())


async def test_labels_that_a_pod_makes_up(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    claim = (
        'springtide_queue_depth{namespace="team-a",service="chat",pool="gpu",pod="a",job="springtide-model-servers"}'
    )
    liar = pods.enter_context(Exporter("liar", lambda _: f"{claim} 900\n", namespace="team-x", service="x", pool="x"))
    honest = pods.enter_context(Exporter("a", gauges(queue=2)))
    prometheus.scrape({"springtide-model-servers": [honest, liar], "kubernetes-pods": [liar, honest]})
    own = Key("team-x", "x", "x")
    found = await until(
        prometheus,
        {CHAT: ready("a"), own: ready("liar")},
        lambda found: number(found[own], "queue") == 900 and bool(found[CHAT].queue),
    )
    assert number(found[CHAT], "queue") == 2


async def test_two_services_of_one_name_and_pods_of_one_name(
    prometheus: PrometheusProcess, pods: contextlib.ExitStack
) -> None:
    here = pods.enter_context(Exporter("chat-gpu-0", gauges(queue=3)))
    there = pods.enter_context(Exporter("chat-gpu-0", gauges(queue=700), namespace="team-b"))
    prometheus.scrape({"springtide-model-servers": [here, there], "kubernetes-pods": [here, there]})
    other = Key("team-b", "chat", "gpu")
    found = await until(
        prometheus,
        {CHAT: ready("chat-gpu-0"), other: ready("chat-gpu-0")},
        lambda found: [number(found[key], "queue") for key in (CHAT, other)] == [3, 700],
    )
    assert not found[CHAT].doubts + found[other].doubts


async def test_nan_infinity_and_a_lie(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    told = {"a": "4", "b": "6", "c": "5", "nan": "NaN", "inf": "+Inf", "liar": "5000"}
    made = [pods.enter_context(Exporter(name, gauges(queue=value))) for name, value in told.items()]
    prometheus.scrape({"springtide-model-servers": made})
    pool = ready(*told, typical={"queue": 10.0})
    found = await until(
        prometheus, {CHAT: pool}, lambda found: found[CHAT].seen == 6 and number(found[CHAT], "queue") == 37.5
    )
    # 4 + 6 + 5 + 10 of four pods, for six
    assert "pod liar says 5000; counted as 10" in str(found[CHAT].doubts)
    alone = read(await ask(prometheus), {CHAT: ready("nan")})[CHAT]
    assert alone.seen == 1
    assert alone.queue is None
    assert [doubt.reason for doubt in alone.doubts] == ["NotFinite"]


async def test_a_pod_that_can_not_be_scraped(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    made = [pods.enter_context(Exporter(name, gauges(queue=4))) for name in ("a", "b", "c")]
    prometheus.scrape({"springtide-model-servers": made})
    pool = {CHAT: ready("a", "b", "c")}
    await until(prometheus, pool, lambda found: found[CHAT].seen == 3 and number(found[CHAT], "queue") == 12)
    made[2].answering.clear()
    found = await until(prometheus, pool, lambda found: found[CHAT].seen == 2)
    assert number(found[CHAT], "queue") == 12
    assert [doubt.reason for doubt in found[CHAT].doubts] == ["PartialScrape"]
    made[1].answering.clear()
    found = await until(prometheus, pool, lambda found: found[CHAT].seen == 1)
    assert found[CHAT].queue is None
    made[1].answering.set()
    made[2].answering.set()
    await until(prometheus, pool, lambda found: found[CHAT].seen == 3 and not found[CHAT].doubts)


async def test_a_counter_that_starts_again(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    pod = pods.enter_context(Exporter("a", gauges(tokens=lambda seconds: 1_000_000 + 100 * seconds, in_flight=0)))
    prometheus.scrape({"springtide-model-servers": [pod]})
    pool = {CHAT: ready("a")}
    await until(prometheus, pool, lambda found: number(found[CHAT], "output_tokens") > 5)
    pod.text = gauges(tokens=lambda seconds: 100 * seconds, in_flight=0)
    pod.restart()
    seen = []
    for _ in range(15):
        await asyncio.sleep(0.3)
        seen.append(number(read(await ask(prometheus), pool)[CHAT], "output_tokens"))
    # A minute's rate of a counter that Prometheus has known for seconds is less than the truth, never more.
    assert all(0 < one < 150 for one in seen), seen


async def test_a_query_that_prometheus_refuses(prometheus: PrometheusProcess) -> None:
    questions = {"broken": "sum(", "duplicates": "up == on (job) group_left () up", "fine": "vector(1)"}
    answers = await Prometheus(prometheus.url, deadline_seconds=20).ask(questions)
    assert isinstance(answers["broken"], Failure)
    assert answers["broken"].fault == "Refused"
    assert "parse error" in answers["broken"].message
    assert isinstance(answers["fine"], tuple)
    assert [one.value for one in answers["fine"]] == [1.0]


async def test_duplicate_series(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    made = [pods.enter_context(Exporter(name, gauges(queue=4))) for name in ("a", "b")]
    prometheus.scrape({"springtide-model-servers": made})
    await until(prometheus, {CHAT: ready("a", "b")}, lambda found: found[CHAT].seen == 2)
    answers = await Prometheus(prometheus.url, deadline_seconds=20).ask({"x": "up + on (job) up"})
    assert isinstance(answers["x"], Failure)
    assert answers["x"].fault == "Refused"
    assert "duplicate series" in answers["x"].message


async def test_a_wrong_path(prometheus: PrometheusProcess) -> None:
    answers = await Prometheus(f"{prometheus.url}/prometheus", deadline_seconds=20).ask(RECORDS)
    assert {getattr(answer, "fault", "") for answer in answers.values()} == {"Refused"}


async def test_a_hung_prometheus_delays_nobody(prometheus: PrometheusProcess, pods: contextlib.ExitStack) -> None:
    pod = pods.enter_context(Exporter("a", gauges(queue=4)))
    prometheus.scrape({"springtide-model-servers": [pod]})
    pool = {CHAT: ready("a")}
    await until(prometheus, pool, lambda found: number(found[CHAT], "queue") == 4)
    prometheus.freeze()
    try:
        answers = await ask(prometheus, 0.5)
        assert {getattr(answer, "fault", "") for answer in answers.values()} == {"TimedOut"}
        assert not read(answers, pool)[CHAT].readings
    finally:
        prometheus.thaw()
    await until(prometheus, pool, lambda found: number(found[CHAT], "queue") == 4)


async def test_a_prometheus_that_is_down_and_comes_back(
    prometheus: PrometheusProcess, pods: contextlib.ExitStack
) -> None:
    pod = pods.enter_context(Exporter("a", gauges(queue=4)))
    prometheus.scrape({"springtide-model-servers": [pod]})
    pool = {CHAT: ready("a")}
    await until(prometheus, pool, lambda found: number(found[CHAT], "queue") == 4)
    prometheus.kill()
    answers = await ask(prometheus)
    assert {getattr(answer, "fault", "") for answer in answers.values()} == {"Unreachable"}
    await asyncio.to_thread(prometheus.start)
    await until(prometheus, pool, lambda found: number(found[CHAT], "queue") == 4)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[PrometheusProcess]:
    # The password is `test`.
    web = "basic_auth_users: {admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay}\n"
    with PrometheusProcess(tmp_path, web=web) as process:
        yield process


async def test_without_a_password(guarded: PrometheusProcess) -> None:
    answers = await ask(guarded)
    assert {getattr(answer, "fault", "") for answer in answers.values()} == {"Unauthorized"}
    assert "HTTP 401" in str(answers["queue"])
    assert not read(answers, {CHAT: ready("a")})[CHAT].readings
