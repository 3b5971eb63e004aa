"""What the operator tells Prometheus, as Prometheus reads it."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client
from prometheus_client.parser import text_string_to_metric_families

from springtide import VERSION
from springtide.api.errors import Conflict, Forbidden, Missing, SpringtideError, Unavailable
from springtide.clients.cluster import DEPLOYMENT, MODEL_SERVICE, POD
from springtide.clients.kubernetes import NO_ANSWER, KubernetesCluster
from springtide.controllers.cache import Cache, Name
from springtide.controllers.generations import Generations
from springtide.controllers.health import serve_health
from springtide.controllers.metrics import Metrics
from springtide.controllers.queue import WorkQueue
from springtide.controllers.reconcile import Reconciler
from springtide.controllers.worker import work
from tests.unit.samples import SETTINGS
from tests.unit.test_reconcile import KEY, SPEC, MemoryCluster, ready_pod, written

QUEUE = {"name": "modelservice"}


def value(metrics: Metrics, name: str, /, **labels: str) -> float | None:
    """Return a value of the text, None when the text has none."""
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


async def test_the_queue_counts_as_that_of_client_go() -> None:
    metrics = Metrics()
    queue: WorkQueue[Name] = WorkQueue(metrics)
    metrics.read_queue(queue)
    for name in ("a", "b", "a"):
        queue.add(("ns", name))
    assert value(metrics, "workqueue_depth", **QUEUE) == 2
    assert value(metrics, "workqueue_adds_total", **QUEUE) == 2, "a key that waits is there once"
    assert value(metrics, "workqueue_longest_running_processor_seconds", **QUEUE) == 0
    await asyncio.sleep(0.02)
    keys = [await queue.get(), await queue.get()]
    assert value(metrics, "workqueue_queue_duration_seconds_count", **QUEUE) == 2
    assert (value(metrics, "workqueue_queue_duration_seconds_sum", **QUEUE) or 0) >= 0.03
    await asyncio.sleep(0.02)
    longest = value(metrics, "workqueue_longest_running_processor_seconds", **QUEUE) or 0
    assert longest >= 0.01
    assert (value(metrics, "workqueue_unfinished_work_seconds", **QUEUE) or 0) > longest, "two keys are in work"
    queue.add(keys[0])
    for key in keys:
        queue.done(key)
    assert value(metrics, "workqueue_depth", **QUEUE) == 1, "what was added meanwhile waits"
    assert value(metrics, "workqueue_adds_total", **QUEUE) == 3
    assert value(metrics, "workqueue_work_duration_seconds_count", **QUEUE) == 2
    assert (value(metrics, "workqueue_work_duration_seconds_sum", **QUEUE) or 0) >= 0.03
    assert value(metrics, "workqueue_unfinished_work_seconds", **QUEUE) == 0
    assert value(metrics, "workqueue_retries_total", **QUEUE) == 0
    queue.retry(keys[1], base=60, cap=60)
    assert value(metrics, "workqueue_retries_total", **QUEUE) == 1


async def test_reconciles_are_counted_by_result_and_reason() -> None:
    metrics, cluster, cache = Metrics(), MemoryCluster(), Cache()
    metrics.read_cache(cache)
    queue: WorkQueue[Name] = WorkQueue(metrics)
    assert value(metrics, "springtide_reconcile_total", result="error") == 0, "a rate needs the zero before the first"
    cache.put(MODEL_SERVICE, written(SPEC))
    reconciler = Reconciler(cluster, cache, SETTINGS, lambda: "2026-01-01T00:00:00Z")
    worker = asyncio.create_task(work(queue, reconciler, metrics.reconciled))
    for failures in ({"Deployment": Forbidden("quota")}, {}):
        cluster.failures = dict(failures)
        queue.add(KEY)
        await asyncio.sleep(0.05)
    worker.cancel()
    with suppress(asyncio.CancelledError):
        await worker
    assert value(metrics, "springtide_reconcile_total", result="error") == 1
    assert value(metrics, "springtide_reconcile_errors_total", reason="Forbidden") == 1
    assert value(metrics, "springtide_reconcile_total", result="success") == 1
    assert value(metrics, "springtide_reconcile_duration_seconds_count") == 2
    assert value(metrics, "springtide_cached_objects", kind="Deployment") == 1
    assert value(metrics, "springtide_cached_objects", kind="Service") == 2
    assert value(metrics, "springtide_cached_objects", kind="Pod") == 0
    assert value(metrics, "springtide_build_info", version=VERSION) == 1


class Bench:
    """A reconciler over a cluster in memory, and a clock to set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.times: list[float] = []
        generations = Generations(self.times.append, lambda: self.now)
        self.cluster = MemoryCluster()
        self.cache = Cache(generations.see)
        self.reconciler = Reconciler(self.cluster, self.cache, SETTINGS, lambda: "", applied=generations.applied)

    def edit(self, generation: int, *, uid: str = "u", observed: int = 0) -> None:
        live = written(SPEC, version=generation * 10, status={"observedGeneration": observed})
        live["metadata"] |= {"generation": generation, "uid": uid}
        self.cache.put(MODEL_SERVICE, live)

    async def reconcile(self) -> SpringtideError | None:
        return await self.reconciler.reconcile(KEY)


async def test_a_generation_is_applied_once_all_children_are() -> None:
    bench = Bench()
    bench.edit(2)
    bench.now += 3
    bench.cluster.failures["Service"] = Conflict("x")
    await bench.reconcile()
    assert bench.times == [], "a child is missing"
    bench.cluster.failures.clear()
    bench.now += 2
    await bench.reconcile()
    await bench.reconcile()
    assert bench.times == [5], "a generation counts once"
    bench.cache.put(POD, ready_pod())
    bench.now += 60
    await bench.reconcile()
    assert bench.times == [5], "pods that come and go are no new generation"


async def test_generations_that_are_applied_together_count_from_the_first() -> None:
    bench = Bench()
    bench.edit(2)
    bench.now += 4
    bench.edit(3)
    bench.now += 1
    await bench.reconcile()
    assert bench.times == [5]


async def test_a_generation_that_comes_during_a_reconcile_waits_for_the_next() -> None:
    bench = Bench()
    bench.edit(2)
    before = bench.cache.model_services.get(KEY)
    assert before is not None
    bench.now += 1
    bench.edit(3)
    bench.now += 1
    bench.reconciler._applied(before)
    assert bench.times == [2]
    bench.now += 1
    await bench.reconcile()
    assert bench.times == [2, 2]


async def test_a_restart_is_no_new_generation_and_a_new_object_is_one() -> None:
    bench = Bench()
    bench.edit(2, observed=2)
    await bench.reconcile()
    assert bench.times == []
    bench.edit(3)
    bench.now += 7
    bench.edit(4, uid="other")
    bench.now += 1
    made = bench.cache.model_services.get(KEY)
    assert made is not None
    bench.reconciler._applied(made)
    assert bench.times == [1], "what its namesake waited for does not matter"


def test_nothing_is_kept_of_a_service_that_is_gone() -> None:
    generations = Generations(lambda _: None)
    cache = Cache(generations.see)
    cache.put(MODEL_SERVICE, written(SPEC))
    cache.remove(MODEL_SERVICE, written(SPEC, version=2))
    assert not generations._seen
    assert not generations._waiting


async def test_requests_are_counted_by_what_came_back() -> None:
    metrics = Metrics()
    codes = {"GET": 200, "PATCH": 409, "DELETE": 404}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"items": [], "message": "x"}, status=codes[request.method])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = client.Configuration()
    settings.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    cluster = KubernetesCluster(client.ApiClient(settings), metrics.requested)
    await cluster.list(POD, None)
    await cluster.get(DEPLOYMENT, "a", "b")
    await cluster.delete(DEPLOYMENT, "a", "b", uid="u")
    body = {"metadata": {"namespace": "a", "name": "b"}}
    with pytest.raises(Conflict):
        await cluster.apply(DEPLOYMENT, body, uid=None)
    with pytest.raises(Conflict):
        await cluster.patch_status(MODEL_SERVICE, body)
    await runner.cleanup()
    with pytest.raises(Unavailable):
        await cluster.get(DEPLOYMENT, "a", "b")
    await cluster.close()
    expected = [
        ("list", "Pod", "200"),
        ("get", "Deployment", "200"),
        ("delete", "Deployment", "404"),
        ("apply", "Deployment", "409"),
        ("patch_status", "ModelService", "409"),
        ("get", "Deployment", NO_ANSWER),
    ]
    for verb, kind, code in expected:
        assert value(metrics, "springtide_api_requests_total", verb=verb, kind=kind, code=code) == 1, (verb, kind)


async def test_the_health_port_serves_the_metrics() -> None:
    metrics, wrong = Metrics(), "a reconcile is stuck"
    metrics.reconciled(0.1, Missing("x"))
    runner = await serve_health(0, lambda: wrong, lambda: "", metrics.text)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{url}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            families = {family.name for family in text_string_to_metric_families(await answer.text())}
        async with session.get(f"{url}/healthz") as answer:
            assert (answer.status, await answer.text()) == (500, wrong)
        async with session.get(f"{url}/readyz") as answer:
            assert answer.status == 200
    await runner.cleanup()
    assert {"springtide_reconcile", "springtide_spec_to_applied_seconds", "workqueue_adds"} <= families
    assert not [name for name in families if name.endswith("_created")]
