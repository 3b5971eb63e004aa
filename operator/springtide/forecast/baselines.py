"""What the forecaster is measured against in a backtest: simple models, fitted on the days before the scored ones."""

import itertools

import numpy as np

from springtide.forecast.horizon import DAY, STEPS, Array

_WINDOW = 96  # minutes that DLinear sees
_TREND = 25  # minutes of its moving average, as its authors have it
_AHEAD = np.arange(1, STEPS + 1)


def last_value(rates: Array, origins: Array) -> Array:
    """Return [origins, STEPS]: everything stays as it is."""
    return np.repeat(_carried(rates)[origins, None], STEPS, axis=1)


def seasonal_naive(rates: Array, origins: Array) -> Array:
    """Return what came at the same minutes a day before, or the last value where nothing is known of it."""
    before = origins[:, None] + _AHEAD - DAY
    yesterday = np.where(before >= 0, rates[np.maximum(before, 0)], np.nan)
    return np.where(np.isnan(yesterday), last_value(rates, origins), yesterday)


def holt(rates: Array, origins: Array, fitted: int) -> Array:
    """Return damped Holt with the smoothing that is best in the first `fitted` minutes, of a grid."""
    grid = np.array(list(itertools.product((0.1, 0.2, 0.35, 0.5, 0.7, 0.9), (0.0, 0.01, 0.05, 0.15), (0.8, 0.9, 0.97))))
    alpha, beta, phi = grid.T
    filled = _carried(rates)
    level, trend = np.full(len(grid), filled[0]), np.zeros(len(grid))
    levels, trends = np.empty((2, len(filled), len(grid)))
    for minute, value in enumerate(filled):
        expected = level + phi * trend
        trend = phi * trend + beta * (value - expected)
        level = expected + alpha * (value - expected)
        levels[minute], trends[minute] = level, trend
    damped = np.cumsum(phi ** _AHEAD[:, None], axis=0)
    tried = np.arange(fitted // 10, fitted - STEPS)
    losses = [
        np.nanmean(np.abs(levels[tried] + damped[step - 1] * trends[tried] - rates[tried + step, None]), axis=0)
        for step in _AHEAD
    ]
    best = int(np.argmin(np.sum(losses, axis=0)))
    made = levels[origins, best, None] + damped[:, best] * trends[origins, best, None]
    return np.maximum(made, 0)


def dlinear(rates: Array, origins: Array, fitted: int) -> Array:
    """Return DLinear (Zeng et al., 2023): one linear map of the window's moving average and one of the rest.

    Its training loss is least squares, whose minimum is computed here instead of being approached by gradient descent.
    """
    filled = _carried(rates)
    mean, deviation = filled[:fitted].mean(), filled[:fitted].std() + 1e-9
    scaled = (filled - mean) / deviation
    tried = np.arange(_WINDOW, fitted - STEPS)
    inputs, wanted = _decomposed(scaled, tried), scaled[tried[:, None] + _AHEAD]
    gram = inputs.T @ inputs + 1e-3 * len(tried) * np.eye(inputs.shape[1])
    learned = np.linalg.solve(gram, inputs.T @ wanted)
    made = _decomposed(scaled, np.maximum(origins, _WINDOW)) @ learned * deviation + mean
    return np.asarray(np.maximum(made, 0))


def _decomposed(scaled: Array, origins: Array) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(scaled, _WINDOW)[origins - _WINDOW + 1]
    padded = np.pad(windows, ((0, 0), (_TREND // 2, _TREND // 2)), mode="edge")
    trend = np.lib.stride_tricks.sliding_window_view(padded, _TREND, axis=1).mean(axis=2)
    return np.concatenate([trend, windows - trend, np.ones((len(windows), 1))], axis=1)


def _carried(rates: Array) -> Array:
    """Return the rates with unknown ones as the one before, 0 before the first."""
    place = np.maximum.accumulate(np.where(np.isnan(rates), 0, np.arange(len(rates))))
    return np.nan_to_num(rates[place])
