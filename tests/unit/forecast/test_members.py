"""The members, each by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.forecast import holt, ridge
from springtide.forecast.checkpoint import Checkpoint, pretrained
from springtide.forecast.features import CONTEXT, DAYS, LINEAR, PATCH, RECENT, SPAN, Features, features
from springtide.forecast.horizon import LEVELS, STEPS, Array
from springtide.forecast.network import Network, run_network


def random_network(seed: int, size: float) -> Network:
    random = np.random.default_rng(seed)
    hidden, dense = 8, 6
    shapes = [
        (4 * hidden, PATCH + 1),
        (4 * hidden, hidden),
        (4 * hidden,),
        (dense, hidden + CONTEXT),
        (dense,),
        (STEPS * len(LEVELS), dense),
        (STEPS * len(LEVELS),),
        (STEPS,),
    ]
    return Network(*(random.normal(0, size, shape).astype(np.float32) for shape in shapes))


def random_features(seed: int, rows: int = 5) -> Features:
    random = np.random.default_rng(seed)
    recent = random.normal(5, 2, (rows, 1)) + random.normal(0, 1, (rows, RECENT))
    days = random.normal(5, 1, (rows, DAYS, SPAN))
    return features(recent, days, np.full(rows, seed))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 50))
def test_quantiles_of_any_network_are_ascending(seed: int, size: float) -> None:
    quantiles = run_network(random_network(seed, size), random_features(seed))
    assert quantiles.shape == (5, STEPS, len(LEVELS))
    assert (np.diff(quantiles, axis=2) >= 0).all()


def holt_after(values: Array) -> Array:
    state = {name: row[None].copy() for name, row in holt.ROW.items()}
    for minute, value in enumerate(values):
        holt.update_holt(state, np.array([value], dtype=np.float32), minute)
    return np.asarray(holt.forecast_holt(state)[0])


def test_holt_follows_a_trend_and_dampens_it() -> None:
    made = holt_after(5 + 0.01 * np.arange(300))
    assert np.all(np.diff(made) > 0)
    assert np.all(np.diff(made, 2) < 0)
    assert made[0] == pytest.approx(8.0, abs=0.03)
    assert 8.02 < made[-1] < 8.15


def test_holt_smooths_noise_and_not_jumps() -> None:
    random = np.random.default_rng(3)
    noisy = 5 + random.normal(0, 0.3, 600)
    assert np.abs(holt_after(noisy) - 5).max() < 0.25
    steps = np.repeat(random.normal(5, 1, 20), 30)
    assert holt_after(steps)[0] == pytest.approx(steps[-1], abs=0.1)


def test_holt_goes_on_over_unknown_minutes() -> None:
    values = np.full(200, 5.0)
    values[100:110] = np.nan
    assert holt_after(values) == pytest.approx(np.full(STEPS, 5.0), abs=1e-3)
    assert np.isnan(holt_after(np.full(10, np.nan))).all()


def run_ridge(common: Checkpoint, values: Array) -> tuple[Array, Array]:
    """Return the forecast after each minute of a series of logarithms, and the map at the end."""
    state = {name: row[None].copy() for name, row in ridge.ROW.items()}
    days = np.full((1, DAYS, SPAN), np.nan)
    made = []
    for minute in range(RECENT, len(values)):
        recent = values[None, minute - RECENT + 1 : minute + 1]
        seen = features(recent, days, np.array([minute]))
        ridge.update_ridge(state, common, recent, seen, minute)
        made.append(ridge.forecast_ridge(state, seen)[0])
    return np.array(made), state["ridge_map"][0]


def test_the_ridge_learns_what_only_this_service_does() -> None:
    common = Checkpoint(pretrained().network, 0.01 * np.eye(LINEAR), np.zeros((LINEAR, STEPS)))
    minutes = np.arange(2000)
    values = 6 + np.sin(2 * np.pi * minutes / 40) + np.random.default_rng(1).normal(0, 0.02, len(minutes))
    made, _ = run_ridge(common, values)
    ends = np.arange(1500, 1900)
    error = np.abs(made[ends - RECENT, -1] - values[ends + STEPS]).mean()
    last = np.abs(values[ends] - values[ends + STEPS]).mean()
    assert error < 0.2 * last


def test_a_ridge_without_experience_says_what_the_common_one_says() -> None:
    common = pretrained()
    values = np.random.default_rng(1).normal(6, 0.1, RECENT + 2)
    _, learned = run_ridge(common, values)
    assert learned == pytest.approx(ridge.solve(common.gram, common.cross), abs=1e-4)


def test_unknown_minutes_teach_the_ridge_nothing() -> None:
    common = pretrained()
    values = np.random.default_rng(1).normal(6, 0.1, RECENT + 400)
    values[RECENT::10] = np.nan  # no whole window of what follows is left
    _, learned = run_ridge(common, values)
    assert learned == pytest.approx(ridge.solve(common.gram, common.cross), abs=1e-4)
