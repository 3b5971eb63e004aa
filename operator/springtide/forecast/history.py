"""The past week of every service, by minute: a ring of columns, one a minute."""

import numpy as np

from springtide.forecast.features import BEFORE, DAYS, RECENT, SPAN
from springtide.forecast.horizon import DAY, Array

RING = DAYS * DAY + RECENT  # minutes that are kept: what is looked at, a week back with what is around it

PAST = np.arange(-RECENT + 1, 1)
OTHER_DAYS = -DAY * np.arange(1, DAYS + 1)[:, None] + np.arange(-BEFORE + 1, SPAN - BEFORE + 1)


def recent(ring: Array, minute: int) -> Array:
    """Return the minutes up to `minute` of [services, RING] as [services, RECENT]."""
    return ring[:, (minute + PAST) % RING]


def days(ring: Array, minute: int) -> Array:
    """Return what was around the same minute on the days before, as [services, DAYS, SPAN]."""
    return ring[:, (minute + OTHER_DAYS) % RING]


def highest(ring: Array, minute: int) -> Array:
    """Return the highest known value of the last day, 0 where none is known; [services]."""
    day = ring[:, (minute - np.arange(DAY)) % RING]
    return np.asarray(np.fmax.reduce(day, axis=1, initial=0.0))


def put(ring: Array, minute: int, values: Array, skipped: int = 0) -> None:
    """Set the column of a minute, and forget those of the `skipped` minutes before it."""
    ring[:, (minute - np.arange(1, min(skipped, RING - 1) + 1)) % RING] = np.nan
    ring[:, minute % RING] = values
