"""What is learned of durations and memory."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide_server.engine.cost import MARGIN, Costs, Line, Pace, bucket

LENGTHS = st.integers(0, 100_000)


@given(LENGTHS)
def test_buckets_are_powers_of_two(length: int) -> None:
    assert length <= bucket(length) <= max(16, 2 * length - 1) and bucket(length).bit_count() == 1


def test_day_one_has_an_answer() -> None:
    costs = Costs()
    assert 0 < costs.seconds(16, 16) < costs.seconds(64 * 16, 16) < costs.seconds(64 * 512, 512)
    assert 0 < costs.tokens_within(1 << 30, 16) < math.inf


@pytest.mark.parametrize(("slope", "base"), [(2e-6, 4e-3), (3e-4, 1e-4), (1e-3, 0.0), (0.0, 5e-3)])
def test_it_learns_the_line_from_noise_and_outliers(slope: float, base: float) -> None:
    chance = random.Random(1)  # noqa: S311
    line = Line(30e-6, 3e-3, 128)
    for number in range(300):
        x = chance.randrange(16, 2048)
        y = (slope * x + base) * chance.uniform(0.9, 1.1)
        line.observe(x, y * 50 if number % 25 == 24 else y)
    for x in (100, 1000, 2000):
        assert line(x) == pytest.approx(slope * x + base, rel=0.2)


def test_it_follows_a_machine_that_becomes_slow() -> None:
    line = Line(30e-6, 3e-3, 128)
    for factor in (1, 20):
        for number in range(150):
            x = 100 + number % 7 * 100
            line.observe(x, factor * (1e-5 * x + 1e-3))
    assert line(500) == pytest.approx(20 * (1e-5 * 500 + 1e-3), rel=0.2)


def test_batches_of_one_size_are_predicted_well() -> None:
    line = Line(30e-6, 3e-3, 128)
    for _ in range(20):
        line.observe(256, 0.002)
    assert line(256) == pytest.approx(0.002, rel=0.15)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1, 1e12)), max_size=60))
def test_predictions_are_finite_and_never_negative(seen: list[tuple[int, float]]) -> None:
    line = Line(30e-6, 3e-3, 128)
    for x, y in seen:
        line.observe(x, y)
    line.observe(10, math.nan)
    line.observe(10, math.inf)
    assert line.slope >= 0 and line.base >= 0
    assert all(0 <= line(x) < math.inf for x in (0, 1, 10**6))


def test_a_new_bucket_begins_as_its_neighbour() -> None:
    costs = Costs()
    for rows in range(1, 40):
        costs.observe(rows * 128, 128, 0.001 + 1e-6 * rows * 128, None)
    assert costs.overhead(256) == pytest.approx(0.001, rel=0.1)


def test_bytes_are_learned_and_have_a_margin() -> None:
    costs = Costs()
    for rows in range(1, 60):
        costs.observe(rows * 64, 64, 0.01, 1_000_000 + 5_000 * rows * 64)
    needed = costs.bytes(32 * 64, 64)
    assert needed == pytest.approx(MARGIN * (1_000_000 + 5_000 * 32 * 64), rel=0.05)
    assert costs.tokens_within(needed, 64) == pytest.approx(32 * 64)
    assert costs.tokens_within(0, 64) == costs.tokens_within(-1e9, 64) == 0


def test_the_pace_turns_a_backlog_into_a_wait() -> None:
    pace = Pace()
    assert not pace.known and 0 < pace.seconds(1000) < 1
    for _ in range(10):
        pace.observe(0.5, 100)
    assert pace.known and pace.seconds(1000) == pytest.approx(5)
    pace.observe(0.0, 0)
