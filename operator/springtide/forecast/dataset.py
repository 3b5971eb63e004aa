"""Rows to learn from and to be judged by: what was seen at a minute of a series, and what came after it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from springtide.forecast import history
from springtide.forecast.features import DAYS, RECENT, Features, features
from springtide.forecast.horizon import DAY, STEPS, Array, to_log, to_rates

_PADDING = DAYS * DAY + RECENT
_BATCH = 4096


@dataclass(frozen=True)
class Rows:
    """Features of minutes, and their truth."""

    seen: Features
    following: Array  # [rows, STEPS], logarithms of demand, all known
    weight: Array  # [rows, STEPS], makes an error of the logarithm a share of the last value's mean error in the series


def rows_of(rates: Array, origins: Array, first_minute: int = 0) -> Rows:
    """Return rows of a series of requests a second by minute, seen at `origins`, indices into it.

    Minutes of which nothing is known, or not all of what follows, are left out.
    """
    logs = to_log(rates)
    origins = origins[origins + STEPS < len(rates)]
    following = logs[origins[:, None] + np.arange(1, STEPS + 1)]
    now = logs[origins]
    usable = np.isfinite(following).all(axis=1) & np.isfinite(now)
    origins, following, now = origins[usable], following[usable], now[usable]
    padded = np.concatenate([np.full(_PADDING, np.nan, dtype=np.float32), logs, np.full(RECENT, np.nan)])
    seen = joined(
        features(
            padded[part[:, None] + _PADDING + history.PAST],
            padded[part[:, None, None] + _PADDING + history.OTHER_DAYS],
            first_minute + part,
        )
        for part in np.array_split(origins, max(len(origins) // _BATCH, 1))
    )
    moved = np.abs(to_rates(following) - to_rates(now)[:, None])
    # d rate / d log, over the mean error: the error of the logarithm counts as what it does to the demand
    slope = (to_rates(following) + 1 / 60) / max(float(moved.mean()) if len(moved) else 1.0, 1e-3)
    return Rows(seen, following, np.minimum(slope, 100).astype(np.float32))


def joined(parts: Iterable[Features]) -> Features:
    """Return the rows of all parts."""
    all_parts = list(parts)
    return Features(*(np.concatenate([getattr(part, one.name) for part in all_parts]) for one in fields(Features)))


def together(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts."""
    return Rows(
        joined(part.seen for part in parts),
        np.concatenate([part.following for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


def taken(seen: Features, chosen: Array) -> Features:
    """Return some rows."""
    return replace(seen, **{one.name: getattr(seen, one.name)[chosen] for one in fields(Features)})
