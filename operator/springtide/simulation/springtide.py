"""The shipped decision as a policy of the simulation, with any forecaster or none."""

from collections.abc import Callable, Mapping
from math import nan
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from springtide.scaling.decide import decide
from springtide.scaling.observed import Observed, PoolSeen, Traffic
from springtide.scaling.outlook import Outlook
from springtide.scaling.settings import ScalingSettings
from springtide.scaling.state import State
from springtide.scaling.tuning import TUNING, Tuning
from springtide.simulation.view import SCRAPE, View

LEVELS = (500, 800, 900, 950, 990)
_NAME = "service"
_AHEAD = 240


class Forecaster(Protocol):
    """Forecasts of the next 15 minutes, for all services at once."""

    def observe(self, minute: int, demand: Mapping[str, float]) -> None:
        """Take the mean requests a second of a whole Unix minute."""

    def predict(self) -> Mapping[str, NDArray[np.floating[Any]]]:
        """Return quantiles [15 minutes, 5 levels] of requests a second by service."""


class Springtide:
    """Asks `decide` every 15 s, and the forecaster when a minute is over and was scraped.

    `settings` have one pool. `epoch` is the Unix second of the trace's begin, at the start of a minute; `distort`
    changes what the forecaster says, to see what a bad forecast does. `band` keeps (seconds since the trace began,
    median, 90 % quantile) of what was forecast four minutes ahead.
    """

    tick = SCRAPE

    def __init__(
        self,
        settings: ScalingSettings,
        forecaster: Forecaster | None,
        epoch: int = 0,
        week_minutes: Callable[[float], Mapping[str, float]] = lambda now: {},
        tuning: Tuning = TUNING,
        distort: Callable[[Outlook, float], Outlook | None] = lambda outlook, now: outlook,
    ) -> None:
        self._settings = settings
        self._forecaster = forecaster
        self._epoch = epoch
        self._week_minutes = week_minutes
        self._tuning = tuning
        self._distort = distort
        self._state: State | None = None
        self._outlook: Outlook | None = None
        self.band: list[tuple[float, float, float]] = []

    def decide(self, view: View) -> int:
        """Return the target of the one pool."""
        if view.now % 60 == SCRAPE and view.now > 60:
            self._forecast(view)
        (pool,) = self._settings.pools
        rates = tuple(view.rate(SCRAPE, SCRAPE * (ago + 1)) for ago in reversed(range(self._tuning.smoothing)))
        now = float(self._epoch + view.now)
        seen = Observed(
            now=now,
            traffic=Traffic(rates, view.queue(), nan, nan, SCRAPE),
            pools={pool.name: PoolSeen(view.ready, view.loading, view.rate_of_one, view.target)},
            ready_seconds=view.ready_seconds,
            week_minutes=self._week_minutes(now),
            outlook=self._distort(self._outlook, now) if self._outlook else None,
        )
        decision = decide(seen, self._settings, self._state, self._tuning)
        self._state = decision.state
        return decision.targets[pool.name]

    def _forecast(self, view: View) -> None:
        if self._forecaster is None:
            return
        issued = self._epoch + view.now - SCRAPE
        self._forecaster.observe(issued // 60 - 1, {_NAME: view.rate(60)})
        rates = self._forecaster.predict().get(_NAME)
        self._outlook = None
        if rates is not None:
            self.band.append((view.now + _AHEAD, *rates[_AHEAD // 60, [0, 2]].tolist()))
            # Sums of floats may leave a higher quantile a hair below a lower one.
            rows = np.maximum.accumulate(rates, axis=1).tolist()
            self._outlook = Outlook(float(issued), LEVELS, tuple(tuple(row) for row in rows))
