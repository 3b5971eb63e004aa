"""On-line conformal calibration: bands that hold what they promise, whatever the member's own idea of its errors.

Each quantile is the median and a distance, and the distance is stretched by a factor per service, horizon and level. A
minute that comes out above the quantile raises the factor, one below lowers it, in the ratio that makes the share above
right in the long run with no assumption on the data: quantile tracking, the P of conformal PID control (Angelopoulos,
Candes and Tibshirani, 2023). It forgets within hours, so that a day's coverage is right and not only a month's, and
it needs one number where a window of residuals would need a thousand. The median's own bias is tracked the same way.
"""

import numpy as np

from springtide.forecast.horizon import LEVELS, STEPS, Array

_RATE = np.float32(0.03)  # of the distance a minute
_BIAS_RATE = np.float32(0.01)
_BOUNDS = (0.2, 8.0)
_ERROR_MEMORY = 240  # minutes
_ERROR_PRIOR = 30  # minutes that the first guess of the errors counts as
# A normal distribution's quantiles for a mean absolute error of 1, the outermost with a heavier tail.
_TAIL = np.array([0.0, 1.05, 1.6, 2.1, 3.2], dtype=np.float32)
_FIRST_ERROR = (0.15 + 0.02 * np.arange(1, STEPS + 1)).astype(np.float32)  # wide: nothing is known of a new service

_LEAST = np.float32(0.005)  # a band of no width could not be stretched

_LEVELS = np.array(LEVELS, dtype=np.float32)


def row(forecasters: int) -> dict[str, Array]:
    """Return the state of a new service; the last of its forecasters is the ensemble, whose median is corrected too."""
    return {
        "factor": np.ones((forecasters, STEPS, len(LEVELS)), dtype=np.float32),
        "error": np.tile(_FIRST_ERROR, (forecasters, 1)),
        "errors": np.zeros((forecasters, STEPS), dtype=np.float32),
        "bias": np.zeros(STEPS, dtype=np.float32),
    }


def band(medians: Array, error: Array) -> Array:
    """Return quantiles around points [..., STEPS] whose mean absolute error is `error`: [..., STEPS, LEVELS]."""
    return np.asarray(medians[..., None] + np.maximum(error, _LEAST)[..., None] * _TAIL)


def calibrated(quantiles: Array, factor: Array) -> Array:
    """Return the quantiles with their distances from the median stretched, ascending."""
    middle = quantiles[..., :1]
    return np.maximum.accumulate(middle + factor * (quantiles - middle), axis=-1)


def unbiased(quantiles: Array, bias: Array) -> Array:
    """Return the quantiles moved by `bias` [..., STEPS], in distances from the median to the next quantile."""
    return np.asarray(quantiles + (bias * (quantiles[..., 1] - quantiles[..., 0]))[..., None])


def update_calibration(state: dict[str, Array], issued: Array, truth: Array) -> None:
    """Learn from a minute, nothing where `truth` [services] is NaN.

    `issued` is [services, forecasters, STEPS, LEVELS]: what was said of it one to STEPS minutes before.
    """
    known = np.isfinite(issued[..., 0]) & np.isfinite(truth)[:, None, None]
    above = truth[:, None, None, None] > issued
    step = np.where(known[..., None], _RATE * (above - (1 - _LEVELS)), 0)
    state["factor"] = np.clip(state["factor"] + step, *_BOUNDS)
    state["bias"] += np.where(known[:, -1], _BIAS_RATE * (above[:, -1, :, 0] - np.float32(0.5)), 0)
    np.clip(state["bias"], -1, 1, out=state["bias"])

    error = np.abs(truth[:, None, None] - issued[..., 0])
    state["errors"] += known
    weight = 1 / (np.minimum(state["errors"], _ERROR_MEMORY) + _ERROR_PRIOR)
    state["error"] += np.where(known, weight * (error - state["error"]), 0)
