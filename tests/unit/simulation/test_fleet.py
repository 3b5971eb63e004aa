"""Replicas under a fake clock."""

from math import isnan

import numpy as np
import pytest

from springtide.simulation.fleet import DRAIN, FAILED, Fleet


def fleet(ready: int = 0, cold_start: float = 180.0) -> Fleet:
    return Fleet(cold_start, ready, np.random.default_rng(1))


def test_cold_starts_are_lognormal_and_some_fail() -> None:
    made = fleet()
    made.scale(20_000, 0.0)
    ready = []
    for now in range(0, 2000, 5):
        made.advance(float(now))
        ready.append(made.ready)
    assert made.ready == 20_000
    share = np.array(ready) / 20_000
    median = 5 * np.searchsorted(share, 0.5)
    # Those that fail start once more; of the others 95 % are ready by 1.5 times the median.
    assert median == pytest.approx(180, abs=10)
    assert share[270 // 5] == pytest.approx(0.95 * (1 - FAILED), abs=0.01)


def test_the_time_to_ready_is_measured() -> None:
    made = fleet()
    made.scale(5, 0.0)
    made.advance(1000.0)
    assert all(isnan(seconds) for seconds in made.ready_seconds())
    made.scale(100, 1000.0)
    made.advance(3000.0)
    p50, p95 = made.ready_seconds()
    assert 150 < p50 < 210 < p95 < 400


def test_what_is_not_ready_is_removed_first_and_what_served_drains() -> None:
    made = fleet(3)
    made.scale(5, 0.0)
    assert (made.created, made.ready, made.loading(10.0)) == (5, 3, (10.0, 10.0))
    assert made.scale(2, 10.0) == 3
    assert (made.ready, made.removed_while_loading, made.existing) == (2, 2, 3)
    made.advance(10.0 + DRAIN)
    assert made.existing == made.created == 2
