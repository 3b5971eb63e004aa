"""The last value as a forecast, with quantiles of how far it was off: the baseline of every other forecaster."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from springtide.forecast.horizon import DAY, LEVELS, STEPS

_FEWEST = 30
# Half a request a minute: the log of a rate that may be 0.
_SMALL = 1 / 120


@dataclass
class _Series:
    """One service: its last rates, and log ratios [DAY, STEPS] of what came to what was the last value."""

    rates: NDArray[np.float64] = field(default_factory=lambda: np.full(STEPS + 1, np.nan))
    ratios: NDArray[np.float64] = field(default_factory=lambda: np.full((DAY, STEPS), np.nan))
    minute: int = -1


class LastValue:
    """Forecasts that the last minute's rate stays, within what its errors of the last day were.

    The quantiles are split-conformal ones of the log ratio, by horizon (Vovk, Gammerman and Shafer, Algorithmic
    Learning in a Random World, 2005): of n errors the ⌈q (n + 1)⌉-th smallest.
    """

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}

    def observe(self, minute: int, demand: Mapping[str, float]) -> None:
        """Take the mean requests a second of a whole Unix minute; NaN where it is unknown."""
        for name, rate in demand.items():
            series = self._series.setdefault(name, _Series())
            gap = minute - series.minute if series.minute >= 0 else 1
            if gap <= 0:
                continue  # the minute was told before
            for _ in range(min(gap, DAY) - 1):
                series.rates = np.append(series.rates[1:], np.nan)
            series.rates = np.append(series.rates[1:], rate if rate >= 0 else np.nan)
            logs = np.log(series.rates + _SMALL)
            series.ratios[minute % DAY] = logs[-1] - logs[-2::-1]
            series.minute = minute

    def predict(self) -> Mapping[str, NDArray[np.float64]]:
        """Return [STEPS, LEVELS] requests a second for each service whose last minute is known and has half an hour."""
        made = {}
        for name, series in self._series.items():
            last = series.rates[-1]
            if np.isnan(last):
                continue
            errors = np.sort(series.ratios, axis=0)  # NaN comes last
            counts = np.sum(~np.isnan(series.ratios), axis=0)
            if counts.min() < _FEWEST:
                continue
            ranks = np.ceil(np.outer(counts + 1, LEVELS)).astype(int) - 1
            ranks = np.minimum(ranks, counts[:, None] - 1)
            rates = (last + _SMALL) * np.exp(errors[ranks, np.arange(STEPS)[:, None]]) - _SMALL
            made[name] = np.maximum(rates, 0.0)
        return made
