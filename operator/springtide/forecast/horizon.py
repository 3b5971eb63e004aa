"""What is forecast: the steps, the quantiles, and the scale on which it is computed."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

STEPS = 15  # minutes ahead
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
HOUR, DAY, WEEK = 60, 1440, 10080  # in minutes

# Horizons that share weights: what is best a minute ahead is seldom best in a quarter of an hour.
GROUPS = (range(0, 3), range(3, 8), range(8, STEPS))


def to_log(rates: Array) -> Array:
    """Return log(1 + requests a minute) of requests a second: multiplicative where busy, finite where idle."""
    return np.log1p(60 * np.asarray(rates, dtype=np.float64)).astype(np.float32)


def to_rates(logs: Array) -> Array:
    """Return requests a second, at least 0 and finite unless NaN; undoes `to_log`."""
    return np.maximum(np.expm1(np.minimum(np.asarray(logs, dtype=np.float64), 60)), 0) / 60
