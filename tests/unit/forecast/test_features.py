"""What the members look at holds for any history: normalised, masked, never NaN where it matters."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from springtide.forecast.features import (
    CONTEXT,
    DAYS,
    LINEAR,
    PATCH,
    RECENT,
    REFERENCE,
    REFERENCES,
    SPAN,
    Features,
    features,
    median,
)
from springtide.forecast.horizon import DAY, STEPS, Array, to_log

LOGS = st.one_of(st.floats(0, 20, width=32), st.just(0.0), st.just(float("nan")))


def seen(recent: Array, days: Array | None = None, minute: int = 700) -> Features:
    if days is None:
        days = np.full((len(recent), DAYS, SPAN), np.nan)
    return features(recent, days, np.full(len(recent), minute))


def flat(rate: float, rows: int = 1) -> Array:
    return np.broadcast_to(to_log(np.array(rate)), (rows, RECENT)).copy()


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (3, RECENT), elements=LOGS), arrays(np.float32, (3, DAYS, SPAN), elements=LOGS))
def test_any_history_gives_finite_inputs(recent: Array, days: Array) -> None:
    made = seen(recent, days)
    assert made.patches.shape == (3, RECENT // PATCH, PATCH + 1)
    assert made.context.shape == (3, CONTEXT)
    assert made.linear.shape == (3, LINEAR)
    for name in ("level", "scale", "patches", "context", "linear"):
        assert np.isfinite(getattr(made, name)).all(), name
    assert (made.scale > 0).all()
    known = np.isfinite(recent).any(axis=1)
    assert (np.isfinite(made.last) == known).all()


@settings(max_examples=50, deadline=None)
@given(arrays(np.float32, (4, RECENT), elements=LOGS), st.permutations(range(4)))
def test_rows_do_not_see_each_other(recent: Array, order: list[int]) -> None:
    days = np.random.default_rng(1).normal(5, 1, (4, DAYS, SPAN))
    there, here = seen(recent[order], days[order]), seen(recent, days)
    for one in fields(Features):
        np.testing.assert_allclose(getattr(there, one.name), getattr(here, one.name)[order], rtol=1e-5, atol=1e-5)


@settings(deadline=None)
@given(arrays(np.float64, (2, 7), elements=st.one_of(st.floats(-9, 9), st.just(float("nan")))))
def test_median_of_what_is_known(values: Array) -> None:
    for row, found in zip(values, median(values), strict=True):
        known = row[np.isfinite(row)]
        assert found == pytest.approx(np.median(known)) if len(known) else np.isnan(found)


def test_unknown_minutes_are_as_the_one_before_and_said_to_be_missing() -> None:
    recent = flat(10)
    recent[0, -7:] = np.nan
    made = seen(recent)
    assert made.last[0] == recent[0, 0]
    assert made.patches[0, -1, -1] == 1
    assert made.patches[0, -2, -1] == pytest.approx(0.4)
    assert made.patches[0, -3, -1] == 0


def test_one_outlier_moves_nothing() -> None:
    steady = flat(10) + np.random.default_rng(1).normal(0, 0.05, (1, RECENT))
    spiked = steady.copy()
    spiked[0, 40] += 8
    before, after = seen(steady), seen(spiked)
    assert after.level == pytest.approx(before.level, abs=0.01)
    assert after.scale == pytest.approx(before.scale, rel=0.1)


def test_the_shape_of_the_median_day_moves_the_level() -> None:
    recent = flat(10)
    rising = to_log(np.array(100.0)) + 0.02 * np.arange(SPAN)
    days = np.tile(rising, (1, DAYS, 1))
    made = seen(recent, days)
    assert made.shape[0, -1] - made.last[0] == pytest.approx(0.02 * (STEPS + 4.5), abs=0.01)
    days[0, 2] = to_log(np.array(1.0)) + np.random.default_rng(1).normal(0, 3, SPAN)
    assert seen(recent, days).shape == pytest.approx(made.shape, abs=0.01), "one odd day of seven"


def test_an_outage_of_yesterday_is_not_expected_again() -> None:
    days = np.tile(flat(10)[:, :SPAN], (1, DAYS, 1)).reshape(1, DAYS, SPAN)
    days[0, 0, 10:40] = 0
    made = seen(flat(10), days)
    assert made.shape[0] == pytest.approx(np.full(STEPS, made.last[0]), abs=1e-4)
    idle = seen(flat(0), days)
    assert idle.context[0, REFERENCE - 1] == 1, "while idle, zeros of yesterday are what was there"
    assert abs(idle.context[0, :REFERENCE]).max() > 1


def test_no_day_gives_no_shape_and_an_empty_mask() -> None:
    made = seen(flat(10))
    assert np.isnan(made.shape).all()
    assert not made.context[0, : REFERENCES * REFERENCE].any()


def test_the_clock_is_the_same_a_day_later_but_for_the_week() -> None:
    today, tomorrow = seen(flat(10), minute=700).context, seen(flat(10), minute=700 + DAY).context
    differ = np.flatnonzero(np.abs(today - tomorrow)[0] > 1e-3)
    assert len(differ) == 2
