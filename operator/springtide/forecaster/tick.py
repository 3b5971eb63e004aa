"""One minute of the forecaster: ask for demand, learn from it, forecast, write what is new.

Prometheus is asked one question for all services, and the API server for the names of ModelServices. What is not
answered is not learned from, and then no forecast is renewed: whoever reads forecasts lets old ones run out. Minutes
that were missed are asked for again as soon as Prometheus answers.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from springtide.api.errors import SpringtideError
from springtide.clients.cluster import MODEL_SERVICE, Cluster
from springtide.clients.prometheus import Prometheus
from springtide.forecast.ensemble import Ensemble
from springtide.forecast.horizon import DAY, HOUR, Array
from springtide.forecaster.memory import Memory
from springtide.forecaster.metrics import Fault, Metrics
from springtide.forecaster.past import read_pieces
from springtide.forecaster.writing import Writer
from springtide.signals.answers import Failure
from springtide.signals.demand import DEMAND, Service, read_demand

logger = logging.getLogger(__name__)

PAST_MINUTES = 8 * DAY  # the week that is looked at, and a day for what is missing at its end
# The last minutes of the past are gone through as if they came now, so that bands and weights fit each service. A day
# and some: who foresees a rise that comes each day is told by the last one. It takes some 5 s, of 1,000 services 5 min.
LEARNED_MINUTES = DAY + 2 * HOUR
_SAVE_MINUTES = 10
# A clock that is set back by less is waited for.
_AHEAD_MINUTES = 15

Made = TypeVar("Made")


class Forecaster:
    """Holds the memory, which only its own thread touches."""

    def __init__(
        self,
        prometheus: Prometheus,
        cluster: Cluster,
        memory: Memory,
        metrics: Metrics,
        namespaces: Sequence[str | None] = (None,),
        learned_minutes: int = LEARNED_MINUTES,
    ) -> None:
        self._prometheus = prometheus
        self._cluster = cluster
        self._memory = memory
        self._metrics = metrics
        self._namespaces = namespaces
        self._learned = learned_minutes
        self._writer = Writer(cluster, metrics.failed)
        self._thread = ThreadPoolExecutor(1, "forecasting")
        self._saved: int | None = None
        self._fault: Fault | None = None

    async def tick(self, now: float) -> None:
        """Do what there is to do for the last whole minute before `now`, in unix seconds."""
        minute = int(now // 60) - 1
        await self._run(self._memory.look_for_checkpoint)
        self._metrics.pretrained.set(self._memory.pretrained)
        if not await self._comes_next(minute):
            return
        uids = await self._listed()
        if uids is None:
            return
        demand = await self._asked(minute, uids)
        if demand is None:
            return
        recalled = await self._catch_up(minute, uids)
        forecasts = await self._run(functools.partial(self._observe, minute, demand, uids))
        self._metrics.observed.set(60 * (minute + 1))
        self._metrics.services.set(len(self._memory.ensemble.services))
        self._well()
        self._metrics.written.inc(await self._writer.write(forecasts, uids, minute, now))
        if recalled or self._saved is None or minute - self._saved >= _SAVE_MINUTES:
            await self.save()
            self._saved = minute

    async def save(self) -> None:
        """Write the state to its file."""
        await self._run(self._memory.save)

    async def _comes_next(self, minute: int) -> bool:
        newest = self._memory.ensemble.minute
        if newest is None or minute > newest:
            return True
        if minute == newest:
            return False  # seen before a restart
        if newest - minute <= _AHEAD_MINUTES:
            self._failed("ClockJump", f"minute {minute} is skipped: the newest that was seen is {newest}")
            return False
        self._failed("ClockJump", f"it begins anew: minute {newest}, which was seen, is far after {minute}")
        await self._run(self._memory.forget)
        return True

    async def _listed(self) -> dict[Service, str] | None:
        """Return the uids of all ModelServices."""
        try:
            found = [
                one["metadata"]
                for namespace in self._namespaces
                for one in await self._cluster.list(MODEL_SERVICE, namespace, metadata=True)
            ]
        except SpringtideError as error:
            self._failed("NotListed", f"ModelServices can't be listed: {error}")
            return None
        return {(one["namespace"], one["name"]): one["uid"] for one in found}

    async def _asked(self, minute: int, uids: Mapping[Service, str]) -> dict[Service, float] | None:
        """Return the demand of ModelServices, NaN where a service's can't be told."""
        answer = (await self._prometheus.ask({"demand": DEMAND}, at=60 * (minute + 1)))["demand"]
        if isinstance(answer, Failure):
            self._failed(answer.fault, f"Prometheus doesn't tell of demand: {answer.message}")
            return None
        demand = {service: rate for service, rate in read_demand(answer).items() if service in uids}
        if uids and not demand:
            self._failed("Empty", "Prometheus knows nothing of any ModelService; has it the chart's rules and scrapes?")
            return None
        return demand

    async def _catch_up(self, minute: int, uids: Mapping[Service, str]) -> bool:
        """Take in the minutes before this one that were not seen, as far as Prometheus has them."""
        newest = self._memory.ensemble.minute
        first = minute - PAST_MINUTES if newest is None else max(newest + 1, minute - PAST_MINUTES)
        if first >= minute:
            return False
        seen = 0
        async for begin, count, found in read_pieces(self._prometheus, first, minute):
            known = {"/".join(service): rates for service, rates in found.items() if service in uids}
            late = begin + count > minute - self._learned
            take = _observe_all if late else Ensemble.recall
            await self._run(functools.partial(take, self._memory.ensemble, begin, known))
            seen += count
        logger.info("%d of %d missed minutes were asked for again", seen, minute - first)
        return True

    def _observe(
        self, minute: int, demand: Mapping[Service, float], uids: Mapping[Service, str]
    ) -> dict[Service, Array]:
        """Return the forecasts of those services whose demand of this minute is known."""
        started = time.perf_counter()
        ensemble = self._memory.ensemble
        ensemble.keep({"/".join(service) for service in uids})
        ensemble.observe(minute, {"/".join(service): rate for service, rate in demand.items()})
        made = ensemble.predict()
        self._metrics.seconds.observe(time.perf_counter() - started)
        return {
            service: made[name]
            for service, rate in demand.items()
            if rate >= 0 and (name := "/".join(service)) in made  # NaN is not
        }

    async def _run(self, work: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _failed(self, fault: Fault, message: str) -> None:
        """Count a fault, and tell of it when it begins."""
        self._metrics.failed(fault)
        logger.log(logging.DEBUG if fault == self._fault else logging.WARNING, "no forecast is renewed: %s", message)
        self._fault = fault

    def _well(self) -> None:
        if self._fault is not None:
            logger.info("forecasts are renewed again, after %s", self._fault)
        self._fault = None


def _observe_all(ensemble: Ensemble, first: int, demand: Mapping[str, Sequence[float]]) -> None:
    for offset in range(max(map(len, demand.values()), default=0)):
        ensemble.observe(first + offset, {name: rates[offset] for name, rates in demand.items()})
