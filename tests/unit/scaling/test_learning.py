"""What scaling learns and remembers."""

from math import log, nan

import pytest
from hypothesis import given
from hypothesis import strategies as some

from springtide.scaling import queueing, safety
from springtide.scaling.queueing import QueueModel, allowed_wait, shape, utilization
from springtide.scaling.safety import Safety
from springtide.scaling.tuning import TUNING
from springtide.scaling.volatility import spread, unknown, watch
from springtide.scaling.window import Window, largest, push


@given(some.lists(some.tuples(some.floats(0, 60), some.floats(0, 1e6)), min_size=1, max_size=60))
def test_the_window_has_the_maximum_and_is_short(steps: list[tuple[float, float]]) -> None:
    window: Window = ()
    now, seen = 0.0, []
    for seconds, value in steps:
        now += seconds
        seen.append((now, value))
        window = push(window, now, value, 300.0)
        assert largest(window) == max(one for time, one in seen if time > now - 300)
    values = [one for _, one in window]
    assert values == sorted(values, reverse=True)


def test_the_window_of_nothing_is_0() -> None:
    assert largest(()) == 0


# The queue model.


def test_the_formula_is_exact_for_one_server() -> None:
    # M/M/1: the mean wait is u / (1 - u) service times.
    assert shape(1, 0.5) == pytest.approx(1.0)
    assert shape(1, 0.9) == pytest.approx(9.0)


@given(some.integers(1, 500), some.floats(0.1, 10), some.floats(0.05, 60), some.floats(0.5, 0.999))
def test_the_utilisation_meets_the_objective(replicas: int, capacity: float, wait: float, attainment: float) -> None:
    most = utilization(QueueModel(1.0), replicas, capacity, wait, attainment)
    assert 0.1 <= most <= 1
    if 0.1 < most < 1:
        assert shape(replicas, most) / capacity * log(1 / (1 - attainment)) <= wait * 1.001


def test_many_replicas_may_be_used_more_than_few() -> None:
    used = [utilization(QueueModel(1.0), count, 2.0, 1.0, 0.99) for count in (1, 5, 25, 100)]
    assert used == sorted(used)
    assert used[0] < 0.5 < 0.9 < used[-1]


def test_waits_teach_variability() -> None:
    model = QueueModel(1.0)
    for _ in range(2000):
        # 20 replicas of 2 requests a second at 80 %; the queue is as of arrivals three times as variable.
        queue = 3 * shape(20, 0.8) / 2.0 * 32
        model = queueing.learn(model, 32.0, queue, 20, 2.0)
    assert model.variability == pytest.approx(3.0, rel=0.01)
    assert queueing.learn(model, 50.0, 1e6, 20, 2.0) == model  # overload says nothing of it
    assert queueing.learn(model, 1.0, 0.0, 20, 2.0) == model
    assert queueing.learn(model, 1.0, 0.0, 0, 2.0) == model


def test_a_latency_objective_leaves_what_an_empty_queue_does_not_take() -> None:
    model = queueing.learn(QueueModel(), 32.0, 0.0, 20, 2.0, latency=0.2)
    assert allowed_wait(model, 0.5, 0.5) == pytest.approx(0.3)
    assert allowed_wait(model, 0.5, 0.1) == pytest.approx(0.005)
    assert allowed_wait(QueueModel(), 0.5, 0.5) == 0.5
    assert allowed_wait(model, 5.0, nan) == 5.0


# Headroom that learns from what was late.


def test_misses_balance_with_calm_at_the_objective() -> None:
    state, late = Safety(1.0), 0
    # Each minute the demand is spread evenly; the wider the headroom, the rarer a miss.
    for minute in range(20_000):
        missed = (minute * 0.618034) % 1 > state.factor / 4
        late += missed
        state = safety.learn(state, float(missed), 10.0, 60.0, 0.9, TUNING)
    assert late / 20_000 == pytest.approx(0.1 * TUNING.budget, rel=0.1)


def test_a_busy_minute_counts_for_more() -> None:
    state = Safety(1.0, 10.0)
    busy = safety.learn(state, 1.0, 20.0, 60.0, 0.99, TUNING)
    quiet = safety.learn(state, 1.0, 5.0, 60.0, 0.99, TUNING)
    assert busy.factor > quiet.factor > 1


def test_headroom_is_bounded() -> None:
    state = Safety(1.0)
    for _ in range(10_000):
        state = safety.learn(state, 1.0, 10.0, 60.0, 0.99, TUNING)
    assert state.factor == TUNING.most_safety


# Volatility.


def test_volatility_is_the_spread_of_rises_within_a_lead() -> None:
    state, rate = unknown(TUNING), 100.0
    for minute in range(3000):
        rate *= 1.1 if minute % 10 < 5 else 1 / 1.1
        for second in (0, 15, 30, 45):
            state = watch(state, 60.0 * minute + second, rate, 300.0, TUNING)
    assert 0.1 < spread(state) < 0.6
    for minute in range(3000, 6000):
        state = watch(state, 60.0 * minute, rate, 300.0, TUNING)
    assert spread(state) < 0.02


def test_a_gap_teaches_no_volatility() -> None:
    state = unknown(TUNING)
    for minute in range(60):
        state = watch(state, 60.0 * minute, 10.0, 300.0, TUNING)
    before = spread(state)
    state = watch(state, 60.0 * 600, 1000.0, 300.0, TUNING)
    state = watch(state, 60.0 * 601, 1000.0, 300.0, TUNING)
    assert spread(state) == before


# State.
