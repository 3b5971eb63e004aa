"""The operator as a process: what is started in which order, and how it ends."""

import asyncio
import functools
import logging
import os
import signal
import threading
from datetime import UTC, datetime
from typing import Any, cast

import kopf

from springtide.api.errors import Missing, SpringtideError
from springtide.clients.kubernetes import KubernetesCluster
from springtide.clients.route import HttpRoute
from springtide.controllers import handlers
from springtide.controllers.cache import Cache, Name
from springtide.controllers.generations import Generations
from springtide.controllers.health import serve_health
from springtide.controllers.leadership import Leadership
from springtide.controllers.listing import WATCHED, Listing
from springtide.controllers.liveness import Liveness
from springtide.controllers.metrics import Metrics
from springtide.controllers.options import Options
from springtide.controllers.queue import WorkQueue
from springtide.controllers.reconcile import Reconciler
from springtide.controllers.scaling_metrics import ScalingCollector
from springtide.controllers.sensing import Sensing
from springtide.controllers.tasks import end, failure, first, until
from springtide.controllers.worker import keep_looking, work

logger = logging.getLogger(__name__)

_WORKERS = 16
# kopf's own exit was seen to hang, deaf to signals; then the process ends without it.
_EXIT_SECONDS = 20.0
# No reconcile takes this long, each request having a deadline: one that does never ends.
_STUCK_SECONDS = 300.0


async def run(options: Options) -> int:
    """Run until SIGTERM or a failure; return the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    try:
        cluster = await KubernetesCluster.connect(metrics.requested)
    except SpringtideError as error:
        logger.error("%s", error)
        return 1
    try:
        if options.election is None:
            return await Operator(options, cluster, stop, metrics).run()
        leadership = Leadership(cluster, options.election)
        metrics.read_leadership(options.election.name, leadership.leads)
        return await Operator(options, cluster.guarded(leadership.leads), stop, metrics, leadership).run()
    except Exception:
        logger.exception("the operator ends by an error of its own")
        return 1
    finally:
        await cluster.close()
        # What kopf leaves open is closed by asyncio, which would report each as an error.
        asyncio.get_running_loop().set_exception_handler(lambda _, context: logger.debug("%s", context["message"]))


class Operator:
    """One run of the operator."""

    def __init__(
        self,
        options: Options,
        cluster: KubernetesCluster,
        stop: asyncio.Event,
        metrics: Metrics,
        leadership: Leadership | None = None,
    ) -> None:
        self._options = options
        self._leadership = leadership
        self._stop = stop
        self._metrics = metrics
        self._liveness = Liveness(WATCHED, period=options.resync_seconds)
        generations = Generations(metrics.spec_to_applied.observe)
        self._cache = Cache(generations.see)
        self._queue: WorkQueue[Name] = WorkQueue(metrics)
        metrics.read_queue(self._queue)
        metrics.read_cache(self._cache)
        namespaces: list[str | None] = [*options.namespaces] or [None]
        self._listing = Listing(cluster, self._cache, self._queue, namespaces, self._liveness, options.resync_seconds)
        # Outside a cluster the names and addresses of Services lead nowhere.
        self._route = HttpRoute() if "KUBERNETES_SERVICE_HOST" in os.environ else None
        self._sensing = Sensing(options.prometheus, self._cache, self._queue)
        ScalingCollector(self._sensing, metrics.registry)
        self._reconciler = Reconciler(
            cluster, self._cache, options.settings, _now, self._route, generations.applied, self._sensing
        )
        self._failed = ""
        self._holding: asyncio.Task[None] | None = None
        self._waits = leadership is not None
        self._listed = False

    async def run(self) -> int:
        """Start everything, wait for the end, stop everything."""
        health = await serve_health(
            self._options.health_port, self._unhealthy, self._unready, self._metrics.text, self._state
        )
        port = health.addresses[0][1]
        logger.info("health and metrics are served on port %s", port, extra={"port": port})
        try:
            return await (self._work() if self._leadership is None else self._work_while_leading(self._leadership))
        finally:
            await health.cleanup()

    async def _work_while_leading(self, leadership: Leadership) -> int:
        await until(self._stop, leadership.acquire())
        if self._stop.is_set():
            await leadership.release()
            return 0
        self._liveness.begin()
        self._waits = False
        self._holding = asyncio.create_task(self._hold(leadership), name="holding the lease")
        try:
            return await self._work()
        finally:
            await self._give_up_lease()

    async def _give_up_lease(self) -> None:
        if self._holding is not None and self._leadership is not None:
            await end(self._holding)
            await self._leadership.release()

    async def _hold(self, leadership: Leadership) -> None:
        try:
            self._fail(f"leadership is lost: {await leadership.hold()}")
        except Exception as error:
            self._fail(f"leadership is lost: {type(error).__name__}: {error}")

    def _fail(self, why: str) -> None:
        self._failed = why
        logger.error("the operator ends: %s", why)
        self._stop.set()

    async def _work(self) -> int:
        if not await until(self._stop, self._read_cluster()):
            return 0 if self._stop.is_set() and not self._failed else 1
        return await self._serve()

    async def _read_cluster(self) -> bool:
        try:
            await self._listing.wait_for_definition(self._options.definition_seconds)
            await self._listing.fill()
        except Missing:
            logger.error(
                "a CustomResourceDefinition of springtide.dev is not installed: apply the files of crds/, or install "
                "the chart with crds.enabled"
            )
            return False
        except SpringtideError as error:
            logger.error("the cluster can't be read: %s", error)
            return False
        self._listed = True
        return True

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        # Ours come first: when kopf ends it waits for every task that was started after it.
        worker = functools.partial(work, self._queue, self._reconciler, self._metrics.reconciled)
        ours = [loop.create_task(worker(), name=f"worker {n}") for n in range(_WORKERS)]
        ours.append(loop.create_task(self._listing.keep_comparing(), name="comparing"))
        ours.append(loop.create_task(self._sensing.keep_sensing(), name="sensing"))
        if self._route is not None:
            ours.append(loop.create_task(keep_looking(self._queue, self._cache), name="looking"))
        started = asyncio.Event()
        watching = loop.create_task(self._watch(started), name="watching")
        await until(self._stop, first(started.wait(), watching))
        # kopf took the signals when it started; the order of the end is ours.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        logger.info("watching %s", ", ".join(self._options.namespaces) or "all namespaces")

        stopped = loop.create_task(self._stop.wait(), name="stop")
        done, _ = await asyncio.wait({watching, stopped, *ours}, return_when=asyncio.FIRST_COMPLETED)
        if not self._stop.is_set():
            self._fail(failure(done))
        code = 1 if self._failed else 0
        last = threading.Timer(_EXIT_SECONDS, os._exit, [code])
        last.daemon = True
        last.start()
        await end(*ours, stopped)
        # From here on nothing is written, so the next one may start; kopf's own exit may take its time.
        await self._give_up_lease()
        await end(watching)
        last.cancel()
        return code

    async def _watch(self, started: asyncio.Event) -> None:
        namespaces = self._options.namespaces
        await kopf.operator(
            registry=handlers.registry(self._cache, self._queue, self._liveness),
            settings=handlers.settings(),
            standalone=True,
            # Left to itself, kopf looks up the name of the process's user, and a container's user often has none.
            identity=cast(Any, "springtide"),
            clusterwide=not namespaces,
            namespaces=namespaces,
            ready_flag=started,
        )

    def _unhealthy(self) -> str:
        if self._failed:
            return self._failed
        if self._waits:
            return ""
        if self._queue.longest_work() > _STUCK_SECONDS:
            return "a reconcile is stuck"
        return self._liveness.dead()

    def _unready(self) -> str:
        if self._waits and self._leadership is not None:
            return self._leadership.problem()
        if not self._listed:
            return self._failed or "the cluster has not been read yet"
        return self._unhealthy() or self._liveness.blind()

    def _state(self) -> str:
        return "standing by" if self._waits else "ok"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
