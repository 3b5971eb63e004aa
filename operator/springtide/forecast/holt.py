"""Damped Holt for many services: level and trend, smoothed at several speeds; each service uses its best one.

Gardner and McKenzie, Forecasting trends in time series, 1985. Which smoothing suits depends on how noisy the service
is, so each speed's error five minutes ahead is tracked, and the lowest serves.
"""

import numpy as np

from springtide.forecast.horizon import STEPS, Array

_LEVEL = np.array([0.05, 0.12, 0.25, 0.5, 0.12, 0.3], dtype=np.float32)
_TREND = np.array([0, 0, 0, 0, 0.01, 0.04], dtype=np.float32)
_DAMPING = np.float32(0.9)
_JUMP = 0.7  # a change within a minute, by a factor of 2, that is a new level and no trend, where it is unusual
_JUDGED = 5  # minutes ahead
_RATE = np.float32(1 / 240)  # of the mean error: four hours

_AHEAD = np.cumsum(_DAMPING ** np.arange(1, STEPS + 1, dtype=np.float32))

SPEEDS = len(_LEVEL)
ROW: dict[str, Array] = {
    "holt_level": np.full(SPEEDS, np.nan, dtype=np.float32),
    "holt_trend": np.zeros(SPEEDS, dtype=np.float32),
    "holt_error": np.full(SPEEDS, 0.2, dtype=np.float32),
    "holt_issued": np.full((_JUDGED, SPEEDS), np.nan, dtype=np.float32),
}


def update_holt(state: dict[str, Array], values: Array, minute: int) -> None:
    """Take in a minute's values, [services]; what is NaN is taken to be as forecast."""
    known = np.isfinite(values)[:, None]
    given = values[:, None]
    slot = minute % _JUDGED
    error = np.minimum(np.abs(given - state["holt_issued"][:, slot]), 1) - state["holt_error"]
    state["holt_error"] += np.where(np.isfinite(error), _RATE * error, 0)

    before = state["holt_level"]
    expected = before + _DAMPING * state["holt_trend"]
    level = np.where(known, expected + _LEVEL * (given - expected), expected)
    trend = _DAMPING * state["holt_trend"] + np.where(known, _TREND * (given - expected), 0)
    usual = state["holt_error"].min(axis=1, keepdims=True)
    anew = np.isnan(before) | (np.abs(given - expected) > np.maximum(_JUMP, 6 * usual))
    level, trend = np.where(anew, given, level), np.where(anew, 0, trend)
    state["holt_level"], state["holt_trend"] = level, trend
    state["holt_issued"][:, slot] = level + state["holt_trend"] * _AHEAD[_JUDGED - 1]


def forget(state: dict[str, Array], rows: Array) -> None:
    """Begin anew where `rows` [services] is true: what was before is too old to go on from."""
    state["holt_level"][rows] = np.nan
    state["holt_issued"][rows] = np.nan


def forecast_holt(state: dict[str, Array]) -> Array:
    """Return the forecast of the best speed, [services, STEPS]; NaN before the first known minute."""
    best = np.argmin(state["holt_error"], axis=1)[:, None]
    level = np.take_along_axis(state["holt_level"], best, axis=1)
    trend = np.take_along_axis(state["holt_trend"], best, axis=1)
    return np.asarray(level + trend * _AHEAD)
