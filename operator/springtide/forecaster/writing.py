"""Writing TrafficForecasts to the API server: those that say something new."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from springtide.api.errors import Conflict, SpringtideError, Unavailable
from springtide.clients.cluster import TRAFFIC_FORECAST, Cluster
from springtide.forecast.horizon import LEVELS, Array
from springtide.forecaster.metrics import Fault
from springtide.manifests.forecasts import Rates, forecast_manifest, is_due
from springtide.signals.demand import Service

logger = logging.getLogger(__name__)

_AT_ONCE = 8
_THOUSANDTHS = [round(1000 * level) for level in LEVELS]


@dataclass(frozen=True)
class _Written:
    minute: int
    uid: str
    rates: Rates


class Writer:
    """Remembers what it wrote; after a restart everything is written once more."""

    def __init__(self, cluster: Cluster, failed: Callable[[Fault], None]) -> None:
        self._cluster = cluster
        self._failed = failed
        self._written: dict[Service, _Written] = {}

    async def write(
        self, forecasts: Mapping[Service, Array], uids: Mapping[Service, str], minute: int, now: float
    ) -> int:
        """Write the forecasts [STEPS, LEVELS] of the minutes after `minute` that are due; return how many were.

        `now` is the unix time at which they were made, `uids` are of all ModelServices. It gives up when the API server
        doesn't answer: the next minute comes soon.
        """
        self._written = {service: of for service, of in self._written.items() if service in uids}
        due = [
            (service, _Written(minute, uids[service], milli))
            for service, rates in forecasts.items()
            if service in uids and self._is_due(service, uids[service], milli := _milli(rates), minute)
        ]
        at_once, gone = asyncio.Semaphore(_AT_ONCE), asyncio.Event()

        async def write(service: Service, new: _Written) -> bool:
            async with at_once:
                return not gone.is_set() and await self._apply(service, new, now, gone)

        return sum(await asyncio.gather(*(write(*one) for one in due)))

    def _is_due(self, service: Service, uid: str, rates: Rates, minute: int) -> bool:
        before = self._written.get(service)
        return before is None or before.uid != uid or is_due(before.rates, rates, minute - before.minute)

    async def _apply(self, service: Service, new: _Written, now: float, gone: asyncio.Event) -> bool:
        times = _text(now), _text(60 * (new.minute + 1))
        try:
            # Without force: an object of this name that someone else wrote is theirs.
            desired = forecast_manifest(*service, new.uid, _THOUSANDTHS, new.rates, *times)
            await self._cluster.apply(TRAFFIC_FORECAST, desired, uid=None)
        except Conflict as error:
            self._failed("Taken")
            logger.warning("someone else wrote the TrafficForecast %s/%s, which stays as it is: %s", *service, error)
            self._written[service] = _Written(new.minute, new.uid, ())  # for the next minutes
            return False
        except SpringtideError as error:
            self._failed("NotWritten")
            logger.warning("the TrafficForecast %s/%s can't be written: %s", *service, error)
            if isinstance(error, Unavailable):
                gone.set()
            return False
        self._written[service] = new
        return True


def _milli(rates: Array) -> list[list[int]]:
    return np.rint(1000 * np.minimum(rates, 1e9)).astype(np.int64).tolist()  # type: ignore[no-any-return]


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
