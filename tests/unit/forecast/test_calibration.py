"""Bands hold what they promise, and weights go to who is right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from springtide.forecast import calibration, weights
from springtide.forecast.horizon import GROUPS, LEVELS, STEPS, Array, to_log, to_rates

SHAPE = (1, 1, STEPS, len(LEVELS))


def state_of(row: dict[str, Array]) -> dict[str, Array]:
    return {name: value[None].copy() for name, value in row.items()}


@settings(deadline=None)
@given(
    arrays(np.float32, SHAPE, elements=st.floats(-20, 20, width=32)),
    arrays(np.float32, SHAPE, elements=st.floats(0.25, 8, width=32)),
)
def test_calibrated_quantiles_are_ascending(quantiles: Array, factor: Array) -> None:
    made = calibration.calibrated(quantiles, factor)
    assert (np.diff(made, axis=-1) >= 0).all()
    assert (made[..., 0] == quantiles[..., 0]).all()


@pytest.mark.parametrize("noise", ["normal", "laplace", "lognormal"])
def test_coverage_is_right_for_any_noise(noise: str) -> None:
    random = np.random.default_rng(2)
    draws: dict[str, Callable[[], float]] = {
        "normal": lambda: random.normal(0, 0.1),
        "laplace": lambda: random.laplace(0, 0.3),
        "lognormal": lambda: random.lognormal(0, 0.8) - 1,
    }
    draw = draws[noise]
    state = state_of(calibration.row(1))
    inside = []
    for minute in range(6000):
        issued = calibration.calibrated(
            calibration.band(np.full((1, 1, STEPS), 5.0, dtype=np.float32), state["error"]), state["factor"]
        )
        truth = np.array([5 + draw()], dtype=np.float32)
        calibration.update_calibration(state, issued, truth)
        if minute >= 2000:
            inside.append(truth[0] <= issued[0, 0, :, 1:])
    assert np.mean(inside, axis=(0, 1)) == pytest.approx(LEVELS[1:], abs=0.015)


def test_a_biased_median_is_corrected() -> None:
    state = state_of(calibration.row(1))
    random = np.random.default_rng(2)
    below = []
    for _ in range(4000):
        raw = calibration.band(np.full((1, 1, STEPS), 4.95, dtype=np.float32), state["error"])[:, 0]
        issued = calibration.unbiased(raw, state["bias"])[:, None]
        truth = np.array([5 + random.normal(0, 0.1)], dtype=np.float32)
        calibration.update_calibration(state, issued, truth)
        below.append(truth[0] <= issued[0, 0, :, 0])
    assert np.mean(below[2000:]) == pytest.approx(0.5, abs=0.03)


def test_what_is_unknown_teaches_nothing() -> None:
    state = state_of(calibration.row(2) | weights.row(2))
    before = {name: value.copy() for name, value in state.items()}
    issued = np.full((1, 2, STEPS, len(LEVELS)), 5.0, dtype=np.float32)
    calibration.update_calibration(state, issued, np.array([np.nan], dtype=np.float32))
    weights.update_weights(state, issued, np.array([np.nan], dtype=np.float32))
    issued[:] = np.nan
    calibration.update_calibration(state, issued, np.array([5.0], dtype=np.float32))
    weights.update_weights(state, issued, np.array([5.0], dtype=np.float32))
    for name, value in state.items():
        assert (value == before[name]).all(), name


def trained_weights(errors: list[float], minutes: int = 400, usable: list[bool] | None = None) -> Array:
    """Return the weights of members, the last value first, that are off by `errors` each minute."""
    state = state_of(weights.row(len(errors)))
    points = np.array(errors, dtype=np.float32)[None, :, None, None] + 5
    issued = np.broadcast_to(points, (1, len(errors), STEPS, len(LEVELS)))
    for _ in range(minutes):
        weights.update_weights(state, issued, np.array([5.0], dtype=np.float32))
    may = np.array([usable or [True] * len(errors)])
    return np.asarray(weights.weigh(state, may, np.ones(len(errors), dtype=np.float32))[0])


def test_who_is_right_counts_most() -> None:
    made = trained_weights([0.10, 0.05, 0.09])
    assert made.sum(axis=0) == pytest.approx(np.ones((STEPS, len(LEVELS))))
    assert (made[1] > made[2]).all()
    assert (made[2] > made[0]).all()


def test_who_is_far_worse_than_the_last_value_is_out() -> None:
    made = trained_weights([0.10, 0.13, 0.11])
    assert (made[1] == 0).all()
    assert (made[2] > 0).all()


def test_without_anyone_there_is_no_weight() -> None:
    assert not trained_weights([0.1, 0.1], usable=[False, False]).any()


def test_groups_cover_every_step_once() -> None:
    assert [step for group in GROUPS for step in group] == list(range(STEPS))


@settings(deadline=None)
@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_pinball_is_least_at_the_truth(said: float, truth: float) -> None:
    quantiles = np.full(len(LEVELS), said)
    losses = weights.pinball(quantiles, np.array(truth))
    assert (losses >= 0).all()
    by_hand = [abs(truth - said) * (q if truth > said else 1 - q) for q in LEVELS]
    assert losses == pytest.approx(by_hand, rel=1e-5, abs=1e-6)


def test_logarithms_come_back() -> None:
    rates = np.array([0, 1e-3, 1, 1e5])
    assert to_rates(to_log(rates)) == pytest.approx(rates, rel=1e-4)
