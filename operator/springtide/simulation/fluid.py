"""Waits of a first-in-first-out queue, exact for requests that flow evenly within each second."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Waits:
    """By second of arrival: the wait in seconds and how many were late; by end of second: the queue."""

    seconds: Floats
    late: Floats
    queue: Floats


def waits(arrivals: NDArray[np.int64], capacity: Reals, slo: float) -> Waits:
    """Return the waits of arrivals [seconds] served by capacity [seconds], in requests a second.

    What was served until t is the least over s ≤ t of what came until s plus the capacity from s to t. A request has
    waited until what was served reaches what came before it. At the end of the trace the last capacity goes on.
    """
    came = np.concatenate(([0.0], np.cumsum(arrivals, dtype=np.float64)))
    could = np.concatenate(([0.0], np.cumsum(capacity)))
    served = could + np.minimum.accumulate(came - could)
    # Of the requests of a second the middle one stands for all.
    middle = (came[:-1] + came[1:]) / 2
    times = _reached(served, middle, capacity)
    seconds = np.maximum(times - (np.arange(len(arrivals)) + 0.5), 0.0)
    return Waits(seconds, np.where(seconds > slo, arrivals, 0).astype(np.float64), came[1:] - served[1:])


def _reached(served: Floats, level: Floats, capacity: Reals) -> Floats:
    """Return when each level, ascending, was served."""
    after = np.searchsorted(served, level, side="left")
    inside = after < len(served)
    index = np.where(inside, after, len(served) - 1)
    before = np.maximum(index - 1, 0)
    # A queue is served as fast as can be; where it is empty, what came already has been served.
    rate = capacity[before]
    times = before + np.divide(level - served[before], rate, out=np.zeros_like(level), where=rate > 0)
    rest = (level - served[-1]) / max(capacity[-1], 1e-9)
    reached: Floats = np.where(inside, times, len(served) - 1 + rest)
    return reached


def quantiles(values: Floats, weights: NDArray[np.int64], *shares: float) -> list[float]:
    """Return the values below which those shares of the weight lie; 0 where nothing has weight."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    if not len(total) or not total[-1]:
        return [0.0 for _ in shares]
    return [float(values[order[np.searchsorted(total, share * total[-1])]]) for share in shares]
