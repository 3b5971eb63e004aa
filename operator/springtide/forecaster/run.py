"""The forecaster as a process: what is started in which order, and how it ends."""

import asyncio
import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from springtide.api.errors import SpringtideError
from springtide.api.trafficforecast import FORECASTER
from springtide.clients.kubernetes import KubernetesCluster
from springtide.clients.prometheus import Prometheus
from springtide.controllers.health import serve_health
from springtide.controllers.tasks import until
from springtide.forecaster.memory import Memory
from springtide.forecaster.metrics import Metrics
from springtide.forecaster.tick import Forecaster

logger = logging.getLogger(__name__)

_MINUTE = 60.0
# After the end of a minute, so that the rules have been evaluated at it.
_LAG_SECONDS = 3.0
# Each request has a deadline, and so has each of the hundred that ask for the past.
_STUCK_SECONDS = 1800.0


@dataclass(frozen=True)
class Options:
    """How the forecaster runs.

    No namespaces means all of them, port 0 any free one. `state_dir` is where its state is kept, `checkpoint` a file
    that training writes; without them nothing is kept, and forecasts come from the checkpoint that ships.
    """

    prometheus: Prometheus
    namespaces: Sequence[str] = ()
    state_dir: Path | None = None
    checkpoint: Path | None = None
    health_port: int = 8080


async def run(options: Options) -> int:
    """Run until SIGTERM; return the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = Metrics()
    try:
        cluster = await KubernetesCluster.connect(metrics.requested, FORECASTER)
    except SpringtideError as error:
        logger.error("%s", error)
        return 1
    try:
        await _Process(options, cluster, metrics, stop).run()
    finally:
        await cluster.close()
    return 0


class _Process:
    def __init__(self, options: Options, cluster: KubernetesCluster, metrics: Metrics, stop: asyncio.Event) -> None:
        self._options = options
        self._metrics = metrics
        self._stop = stop
        memory = Memory(options.state_dir, options.checkpoint, metrics.failed)
        namespaces = options.namespaces or (None,)
        self._forecaster = Forecaster(options.prometheus, cluster, memory, metrics, namespaces)
        self._begun = time.monotonic()
        self._ticked = False

    async def run(self) -> None:
        health = await serve_health(self._options.health_port, self._unhealthy, self._unready, self._metrics.text)
        port = health.addresses[0][1]
        logger.info("health and metrics are served on port %s", port, extra={"port": port})
        try:
            await self._forecast()
            await self._forecaster.save()
        finally:
            await health.cleanup()

    async def _forecast(self) -> None:
        while not self._stop.is_set():
            self._begun = time.monotonic()
            try:
                await until(self._stop, self._forecaster.tick(time.time() - _LAG_SECONDS))
            except Exception:
                # The next minute may be better; what is broken for good shows in the age of the forecasts.
                self._metrics.failed("InternalError")
                logger.exception("a minute is lost by an error of the forecaster's own")
            self._ticked = True
            rest = _MINUTE - (time.time() - _LAG_SECONDS) % _MINUTE
            await until(self._stop, asyncio.sleep(rest))

    def _unhealthy(self) -> str:
        return "a minute is stuck" if time.monotonic() - self._begun > _STUCK_SECONDS else ""

    def _unready(self) -> str:
        return self._unhealthy() or ("" if self._ticked else "the past is being read")
