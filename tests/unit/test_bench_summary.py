"""What the bench of servers makes of its measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack.bench.peers import summary
from hack.bench.peers.catalog import KINDS, OURS
from hack.bench.peers.summary import Round
from hack.bench.peers.trials import ATTAINMENT, Search, Trial


def one(goodput: float, p99: float = 50, valid: bool = True) -> Round:
    return Round(2 * goodput, goodput, goodput, p99 / 2, p99, 1, valid)


def trial(attainment: float, valid: bool = True) -> Trial:
    return Trial(1, 1, 1, attainment, 1, 1, 1, {}, {}, 0.1, 0.1, valid)


def test_ratios_are_taken_within_a_round() -> None:
    # the machine was three times as slow in the second round, for both
    rounds = {OURS: [one(12), one(4), one(14)], "mosec": [one(10), one(3.3), one(10)]}
    assert summary.ratio(rounds, "goodput") == pytest.approx(1.2121, abs=1e-4)


def test_the_best_peer_has_the_best_median_and_we_are_no_peer() -> None:
    rounds = {
        OURS: [one(50, 1)] * 3,
        "mosec": [one(10, 60), one(10, 60), one(10, 60)],
        "ray": [one(90, 300), one(5, 20), one(5, 20)],
    }
    assert summary.best_peer(rounds, "goodput") == "mosec"
    assert summary.best_peer(rounds, "p99_ms", lowest=True) == "ray"


def test_invalid_rounds_count_only_where_there_are_no_others() -> None:
    bad = one(1, valid=False)
    assert summary.ratio({OURS: [one(12), one(12)], "mosec": [one(10), bad]}, "goodput") == 1.2
    assert summary.ratio({OURS: [one(12)], "mosec": [bad]}, "goodput") == 12
    assert summary.table([one(10), bad])["valid_rounds"] == 1
    assert summary.table([one(10), bad])["goodput_per_second"] == 10


def test_nothing_is_compared_with_nothing() -> None:
    assert summary.ratio({OURS: [one(12)]}, "goodput") is None
    assert summary.ratio({"mosec": [one(12)]}, "goodput") is None
    assert summary.ratio({OURS: [one(12)], "mosec": [one(0)]}, "goodput") is None
    assert summary.overload_fraction({"goodput_per_second": 1.0}, []) is None


def test_overload_is_compared_with_the_most_that_was_seen() -> None:
    assert summary.overload_fraction({"goodput_per_second": 9.0}, [one(8), one(10)]) == 0.9


@given(limit=st.floats(0.45, 1.15), capacity=st.floats(1, 1000))
def test_the_search_finds_the_highest_rate_that_holds(limit: float, capacity: float) -> None:
    search = Search(capacity)
    for _ in range(8):
        search.tried(trial(ATTAINMENT if search.rate <= limit * capacity else ATTAINMENT / 2))
    assert search.found <= limit * capacity
    assert search.found == pytest.approx(limit * capacity, abs=0.8 / 2**8 * capacity + 1e-9)
    assert search.found <= search.seen + 1e-9 + (1 - ATTAINMENT) * capacity * 1.2


def test_the_search_says_when_nothing_held_and_when_a_trial_was_invalid() -> None:
    search = Search(10)
    search.tried(trial(0.5))
    assert (search.found, search.valid) == (0, True)
    search.tried(trial(1, valid=False))
    assert not search.valid
    assert search.seen == search.found > 0


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", KINDS)
def test_every_sweep_has_no_batches_too_and_nothing_twice(name: str, full: bool) -> None:
    grid = KINDS[name].grid(full)
    assert (KINDS[name].least, 0) in grid
    assert len(set(grid)) == len(grid)
    if full and {"rows", "wait"} <= set(KINDS[name].knobs):
        assert {rows for rows, _ in grid} == {KINDS[name].least, 8, 16, 32}
        assert {wait for _, wait in grid} == {0, 2, 5, 10}
    if "wait" not in KINDS[name].knobs:
        assert {wait for _, wait in grid} == {0}
