"""What the members look at: the last two hours, the same time on other days, and the clock; robustly normalised.

Everything is batched: row n is one service at one minute. Values are logarithms of demand (`horizon.to_log`), NaN where
unknown. The level is the median of the last hour and the scale the interquartile range of the last two, never below
what Poisson noise alone would give: one outlier wrecks a mean and a standard deviation, which RevIN takes.
"""

from dataclasses import dataclass

import numpy as np

from springtide.forecast.horizon import DAY, HOUR, STEPS, WEEK, Array

RECENT = 120  # minutes of the past that are looked at
PATCH = 5  # minutes that the network reads at once
DAYS = 7  # past days that are looked at
BEFORE, AFTER = 20, 35  # of their minutes: each of the steps has 20 on either side
SPAN = BEFORE + AFTER

REFERENCES = 3  # yesterday, a week ago, the median of the days
REFERENCE = SPAN // PATCH + 2  # inputs that each of them gives the network
CLOCK = 8
CONTEXT = REFERENCES * REFERENCE + CLOCK + PATCH + 3
LAG_MEANS = ((6, 10), (10, 15), (15, 30), (30, 60), (60, RECENT))
LINEAR = 1 + PATCH + len(LAG_MEANS) + REFERENCES * (STEPS // PATCH + 1) + 6

_FAR = 6.0  # in scales: what is farther looks as if it were here
_SCALES = (0.02, 1.0)  # from about 2 % of the demand to a factor of e: outages and launches are no noise
_BUSY = float(np.log1p(20))  # requests a minute: a minute with none is an outage then
_PAST = 10  # minutes whose mean is the level that another day's shape is put on


def _averages() -> Array:
    """Return [SPAN, columns], which average a day's minutes: its patches, around each step, and around now."""
    columns = np.zeros((SPAN // PATCH + STEPS + 1, SPAN), dtype=np.float32)
    for patch in range(SPAN // PATCH):
        columns[patch, patch * PATCH : (patch + 1) * PATCH] = 1
    for step in range(STEPS):
        columns[SPAN // PATCH + step, BEFORE + step - 7 : BEFORE + step + 8] = 1
    columns[-1, BEFORE - _PAST : BEFORE] = 1
    return columns.T


_AVERAGES = _averages()


@dataclass(frozen=True)
class Features:
    """One row a service; all but `last` and `shape` are finite even where nothing is known."""

    last: Array  # [rows], the newest known minute; NaN where the last two hours hold none
    level: Array  # [rows]
    scale: Array  # [rows], above 0
    patches: Array  # [rows, RECENT / PATCH, PATCH + 1], the last input of each is the share that is missing
    context: Array  # [rows, CONTEXT], the references first, REFERENCE inputs each
    linear: Array  # [rows, LINEAR], the first is 1
    shape: Array  # [rows, STEPS], the last minutes' level moved as the median day moves; NaN without a day


def features(recent: Array, days: Array, minutes: Array) -> Features:
    """Return the inputs of rows.

    `recent` is [rows, RECENT], the newest minute last; `days` [rows, DAYS, SPAN], yesterday first, each around the
    minute of day that `minutes` [rows], counted from 1970, has.
    """
    known = np.isfinite(recent)
    filled = _carried(recent, known)
    last, past = filled[:, -1], filled[:, -_PAST:].mean(axis=1)
    level = np.nan_to_num(median(filled[:, -HOUR:]))
    scale = _scale(filled, level)
    x = np.nan_to_num((filled - level[:, None]) / scale[:, None])
    near = np.clip(x, -_FAR, _FAR)
    missing = 1 - known.reshape(-1, RECENT // PATCH, PATCH).mean(axis=2, keepdims=True)
    patches = np.concatenate([near.reshape(-1, RECENT // PATCH, PATCH), missing], axis=2)

    bins, moves, now = _references(days, level)
    gap = past[:, None] - now
    bins, moves = bins / scale[:, None, None], moves / scale[:, None, None]
    shown = np.concatenate([bins, gap[:, :, None], np.isfinite(gap)[:, :, None]], axis=2)
    clock = _clock(minutes)
    noise = median(np.abs(np.diff(filled, axis=1))) / scale
    summary = np.stack([level / 10, np.log(scale), noise], axis=1)
    context = np.concatenate(
        [_near(shown).reshape(-1, REFERENCES * REFERENCE), clock, near[:, -PATCH:], _near(summary)], axis=1
    )

    lags = [x[:, -1 - lag] for lag in range(1, PATCH + 1)]
    lags += [x[:, RECENT - far : RECENT - close].mean(axis=1) for close, far in LAG_MEANS]
    ahead = np.concatenate([moves[:, :, PATCH - 1 :: PATCH], gap[:, :, None]], axis=2)
    ahead = ahead.reshape(-1, REFERENCES * (STEPS // PATCH + 1))
    linear = _near(np.concatenate([np.stack(lags, axis=1) - x[:, -1:], ahead], axis=1))
    linear = np.concatenate([np.ones_like(linear[:, :1]), linear, clock[:, :6]], axis=1)

    shape = past[:, None] + moves[:, -1] * scale[:, None]
    made = (last, level, scale, patches, context, linear, shape)
    return Features(*(one.astype(np.float32) for one in made))


def median(values: Array) -> Array:
    """Return the median of what is known along the last axis, NaN where nothing is."""
    ordered = np.sort(values, axis=-1)  # NaN comes last
    count = np.isfinite(values).sum(axis=-1, keepdims=True)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=-1)
    after = np.take_along_axis(ordered, np.minimum(count // 2, values.shape[-1] - 1), axis=-1)
    return np.asarray((middle + after)[..., 0] / 2)


def _carried(recent: Array, known: Array) -> Array:
    """Return the minutes with unknown ones as the one before, the first ones as the first known."""
    place = np.where(known, np.arange(recent.shape[1]), 0)
    place = np.maximum.accumulate(place, axis=1)
    first = np.argmax(known, axis=1)
    return np.take_along_axis(recent, np.maximum(place, first[:, None]), axis=1)


def _scale(filled: Array, level: Array) -> Array:
    ordered = np.sort(filled, axis=1)
    spread = (ordered[:, 3 * RECENT // 4] - ordered[:, RECENT // 4]) / 1.349  # that of a normal distribution is 1
    poisson = 1 / np.sqrt(1 + np.exp(np.minimum(level, 40)))
    return np.asarray(np.clip(np.maximum(np.nan_to_num(spread), poisson), *_SCALES))


def _near(values: Array) -> Array:
    return np.asarray(np.clip(np.nan_to_num(values), -_FAR, _FAR))


def _references(days: Array, level: Array) -> tuple[Array, Array, Array]:
    """Return patches and steps relative to the same day's level now, and that level: [rows, REFERENCES, ...]."""
    # Where the service is busy now, minutes of another day without any request were an outage or a gap.
    known = np.isfinite(days) & ((days > 0) | (level[:, None, None] < _BUSY))
    with np.errstate(divide="ignore", invalid="ignore"):
        averages = np.where(known, days, 0) @ _AVERAGES / (known.astype(np.float32) @ _AVERAGES)
    now = averages[:, :, -1]
    relative = averages[:, :, :-1] - now[:, :, None]
    typical = median(np.moveaxis(relative, 1, 2))[:, None]
    references = np.concatenate([relative[:, :1], relative[:, -1:], typical], axis=1)
    levels = np.concatenate([now[:, :1], now[:, -1:], median(now)[:, None]], axis=1)
    return references[:, :, :-STEPS], references[:, :, -STEPS:], levels


def _clock(minutes: Array) -> Array:
    turns = [minutes / DAY, 2 * minutes / DAY, minutes / HOUR, minutes / WEEK]
    angles = 2 * np.pi * np.stack([np.mod(turn, 1) for turn in turns], axis=1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, (0, 4, 1, 5, 2, 6, 3, 7)]
