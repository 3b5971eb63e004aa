"""The least that would have done: replicas by the demand to come, which nobody knows."""

from math import ceil

import numpy as np
from numpy.typing import NDArray

from springtide.simulation.fluid import waits

STEP = 30


def wanted(arrivals: NDArray[np.int64], cold_start: float, rate: float, use: float) -> NDArray[np.int64]:
    """Return for each 30 s ⌈max of the 30 s mean demand over [t, t + cold start + 30 s] / (use · rate)⌉, at least 1."""
    padded = np.pad(arrivals, (0, -len(arrivals) % STEP))
    demand = padded.reshape(-1, STEP).mean(axis=1)
    ahead = ceil(cold_start / STEP)  # with the bin of t itself they cover cold start + 30 s
    peak = demand.copy()
    for shift in range(1, ahead + 1):
        peak[:-shift] = np.maximum(peak[:-shift], demand[shift:])
    replicas: NDArray[np.int64] = np.maximum(np.ceil(peak / (use * rate) - 1e-9), 1).astype(np.int64)
    return replicas


def ready(replicas: NDArray[np.int64], cold_start: float, seconds: int) -> NDArray[np.int64]:
    """Return the replicas that are Ready in each second: those that were wanted for a whole cold start."""
    behind = ceil(cold_start / STEP)
    least = replicas.copy()
    for shift in range(1, behind + 1):
        least[shift:] = np.minimum(least[shift:], replicas[:-shift])
    return np.repeat(least, STEP)[:seconds]


def best(
    arrivals: NDArray[np.int64], cold_start: float, rate: float, slo: float, attainment: float
) -> tuple[NDArray[np.int64], float]:
    """Return the replicas of each 30 s with the largest use at which the attainment is met, and that use."""

    def late(use: float) -> float:
        capacity = ready(wanted(arrivals, cold_start, rate, use), cold_start, len(arrivals)) * rate
        return float(waits(arrivals, capacity, slo).late.sum())

    total = arrivals.sum()
    low, high = 0.1, 4.0
    while high - low > 0.002:
        use = (low + high) / 2
        if late(use) <= (1 - attainment) * total:
            low = use
        else:
            high = use
    return wanted(arrivals, cold_start, rate, low), low


def gpu_hours(replicas: NDArray[np.int64], seconds: int) -> float:
    """Return what replicas by 30 s cost over so many seconds."""
    return float(np.repeat(replicas, STEP)[:seconds].sum()) / 3600
