"""Demand for the tests of forecasts."""

from collections.abc import Iterable

import numpy as np

from springtide.forecast.ensemble import Ensemble
from springtide.forecast.horizon import DAY, Array


def waves(days: float, *, mean: float = 20, seed: int = 1, first: int = 0) -> Array:
    """Return requests a second with a clean daily wave and Poisson noise, by minute."""
    minutes = np.arange(first, first + int(days * DAY))
    expected = 60 * mean * (1 + 0.6 * np.sin(2 * np.pi * minutes / DAY))
    return np.random.default_rng(seed).poisson(expected) / 60


def observed(forecaster: Ensemble, rates: Iterable[float], *, first: int = 0, name: str = "chat") -> Ensemble:
    for minute, rate in enumerate(rates, first):
        forecaster.observe(minute, {name: float(rate)})
    return forecaster
