"""Direct ridge regression: one linear map to all steps, learned on line by each service from a common start.

What all services have shown before counts as so many minutes of the service's own, so a new one starts from the
common map and leaves it as its own days say. Sums fade, so that last month does not outvote this week.
"""

import numpy as np

from springtide.forecast.checkpoint import Checkpoint
from springtide.forecast.features import LINEAR, Features
from springtide.forecast.horizon import DAY, STEPS, Array

_PRIOR = 1440.0  # minutes that the common data counts as
_MEMORY = 1 - 1 / (3 * DAY)
_EVERY = 15  # minutes between solutions
_PENALTY = 1e-3  # keeps inputs that never differ from 0 harmless
_SLOTS = STEPS + 1

FAR = 6.0  # in scales: a target that is farther counts as this, so that one outlier can't turn the map

ROW: dict[str, Array] = {
    "ridge_gram": np.zeros((LINEAR, LINEAR), dtype=np.float64),
    "ridge_cross": np.zeros((LINEAR, STEPS), dtype=np.float64),
    "ridge_map": np.full((LINEAR, STEPS), np.nan, dtype=np.float32),
    "ridge_seen": np.full((_SLOTS, LINEAR + 2), np.nan, dtype=np.float32),
}


def targets(last: Array, scale: Array, following: Array) -> Array:
    """Return what the map shall give, [rows, STEPS]: the change from the last value, in scales."""
    return np.clip((following - last[:, None]) / scale[:, None], -FAR, FAR)


def solve(gram: Array, cross: Array) -> Array:
    """Return the map for sums, [..., LINEAR, STEPS]."""
    return np.linalg.solve(gram + _PENALTY * np.eye(LINEAR), cross)


def update_ridge(state: dict[str, Array], common: Checkpoint, recent: Array, seen: Features, minute: int) -> None:
    """Learn from what came after the minute STEPS ago, and keep what is seen now for later.

    `recent` is [services, RECENT] as `features` takes it.
    """
    then = state["ridge_seen"][:, (minute - STEPS) % _SLOTS]
    inputs, last, scale = then[:, :LINEAR], then[:, LINEAR], then[:, LINEAR + 1]
    wanted = targets(last, scale, recent[:, -STEPS:])
    usable = np.isfinite(wanted).all(axis=1)
    x, y = inputs[usable].astype(np.float64), wanted[usable]
    if len(x):
        state["ridge_gram"][usable] = _MEMORY * state["ridge_gram"][usable] + x[:, :, None] * x[:, None, :]
        state["ridge_cross"][usable] = _MEMORY * state["ridge_cross"][usable] + x[:, :, None] * y[:, None, :]
    state["ridge_seen"][:, minute % _SLOTS] = np.concatenate(
        [seen.linear, seen.last[:, None], seen.scale[:, None]], axis=1
    )
    fresh = np.isnan(state["ridge_map"][:, 0, 0])
    due = fresh if minute % _EVERY else np.ones_like(fresh)
    if due.any():
        gram = (state["ridge_gram"][due] + _PRIOR * common.gram) / _PRIOR
        cross = (state["ridge_cross"][due] + _PRIOR * common.cross) / _PRIOR
        state["ridge_map"][due] = solve(gram, cross)


def skip(state: dict[str, Array], minute: int) -> None:
    """Forget what was seen a turn of the ring before a minute that never came."""
    state["ridge_seen"][:, minute % _SLOTS] = np.nan


def forecast_ridge(state: dict[str, Array], seen: Features) -> Array:
    """Return the forecast, [services, STEPS]."""
    relative = np.einsum("nf,nfs->ns", seen.linear, state["ridge_map"])
    return np.asarray(seen.last[:, None] + seen.scale[:, None] * relative)
