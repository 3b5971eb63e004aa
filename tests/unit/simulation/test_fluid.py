"""Waits in a queue, against a queue that is served request by request."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from springtide.simulation.fluid import quantiles, waits


def one_by_one(arrivals: list[int], capacity: list[float], parts: int = 200) -> list[float]:
    """Serve a thin slice of each second after the other; return the wait of what came in the middle of each second."""
    queue, found = 0.0, []
    for second, count in enumerate(arrivals):
        ahead = queue
        for _ in range(parts // 2):
            ahead = max(ahead + count / parts - capacity[second] / parts, 0.0)
        # What is ahead now is served first.
        left, time, part = ahead, 0.0, second * parts + parts // 2
        while left > 0:
            at = min(part // parts, len(capacity) - 1)
            served = capacity[at] / parts
            if at == len(capacity) - 1 and not served:
                break
            time += min(left / served, 1) / parts if served else 1 / parts
            left -= served
            part += 1
        found.append(time)
        for _ in range(parts):
            queue = max(queue + count / parts - capacity[second] / parts, 0.0)
    return found


@settings(max_examples=60, deadline=None)
@given(
    some.lists(some.tuples(some.integers(0, 9), some.sampled_from([0.0, 1.003, 3.017, 8.029])), min_size=1, max_size=20)
)
def test_waits_are_those_of_first_in_first_out(seconds: list[tuple[int, float]]) -> None:
    arrivals = [count for count, _ in seconds]
    capacity = [rate for _, rate in seconds[:-1]] + [2.0]
    found = waits(np.array(arrivals), np.array(capacity), 5.0)
    expected = one_by_one(arrivals, capacity)
    busy = np.array(arrivals) > 0
    assert found.seconds[busy] == pytest.approx(np.array(expected)[busy], abs=0.05)
    assert found.late.tolist() == [
        count if wait > 5 else 0 for count, wait in zip(arrivals, found.seconds, strict=True)
    ]


def test_the_queue_is_what_came_and_was_not_served() -> None:
    found = waits(np.array([10, 0, 0, 0]), np.array([2.0, 3.0, 100.0, 100.0]), 5.0)
    assert found.queue.tolist() == [8, 5, 0, 0]


def test_a_service_that_never_answers_is_late_for_all() -> None:
    found = waits(np.array([1, 2]), np.zeros(2), 5.0)
    assert found.late.tolist() == [1, 2]


def test_quantiles_are_weighted() -> None:
    assert quantiles(np.array([3.0, 1.0, 2.0]), np.array([1, 98, 1]), 0.5, 0.99, 1.0) == [1.0, 2.0, 3.0]
    assert quantiles(np.array([1.0]), np.array([0]), 0.5) == [0.0]
