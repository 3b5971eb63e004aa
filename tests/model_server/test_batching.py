"""What the policy decides, on a clock that is only a number."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from springtide_server.engine.batching import WASTE, Limits, Policy, Run, Wait
from springtide_server.engine.queue import Entry, PriorityQueue
from springtide_server.priorities import DEFAULTS

PLENTY = 1e15
A, B = 1e-6, 5e-3  # seconds a token and a batch, as on a GPU


def learned(limits: Limits, slope: float = A, base: float = B) -> Policy:
    """A policy that has seen batches of all lengths."""
    policy = Policy(limits)
    for length in (16, 64, 256, 1024):
        for rows in range(1, 60):
            policy.ran(rows * length, length, base + slope * rows * length, rows * length * 1000)
    return policy


def filled(*lengths: int, arrival: float = 0.0, deadline: float | None = None) -> PriorityQueue[Entry]:
    queue: PriorityQueue[Entry] = PriorityQueue(DEFAULTS, 10**6, 10**9)
    for length in lengths:
        queue.add(Entry([length], 1, arrival, deadline))
    return queue


def lengths_of(decision: object) -> list[int]:
    assert isinstance(decision, Run)
    return [row.length for row in decision.rows]


def busy(policy: Policy, rate: int, until: float = 0.0) -> Policy:
    """Requests have come at this rate, by the second, for a while."""
    for number in range(5 * rate, -1, -1):
        policy.arrivals.observe(until - number / rate)
    return policy


def test_nothing_to_do() -> None:
    assert Policy(Limits(8, 100, 1)).decide(filled(), 0, PLENTY) is None


def test_an_idle_server_starts_at_once() -> None:
    policy = learned(Limits(64, 16384, 1))
    policy.arrivals.observe(0)
    assert lengths_of(policy.decide(filled(10), 0, PLENTY)) == [10]
    busy(policy, 2000)
    assert lengths_of(policy.decide(filled(10, arrival=60), 60, PLENTY)) == [10]  # after a minute of silence


def test_it_waits_only_where_that_pays() -> None:
    limits = Limits(64, 16384, 0.005)
    costly_batches = busy(learned(limits), 2000)
    decision = costly_batches.decide(filled(10), 0, PLENTY)
    assert isinstance(decision, Wait) and 0 < decision.until < 0.001
    # b - w > n·(w + a) holds up to 8 rows here.
    assert isinstance(costly_batches.decide(filled(*[10] * 8), 0, PLENTY), Wait)
    assert isinstance(costly_batches.decide(filled(*[10] * 9), 0, PLENTY), Run)
    # A row costs what a batch costs, as on a CPU.
    assert isinstance(busy(learned(limits, 1e-4, 1e-3), 2000).decide(filled(10), 0, PLENTY), Run)
    # Fewer requests than one in the longest delay.
    assert isinstance(busy(learned(limits), 100).decide(filled(10), 0, PLENTY), Run)


def test_it_never_waits_longer_than_allowed() -> None:
    assert isinstance(busy(learned(Limits(64, 16384, 0)), 2000).decide(filled(10), 0, PLENTY), Run)
    policy = busy(learned(Limits(64, 16384, 0.002)), 2000)
    now, queue = 0.0, filled(10)
    while isinstance(decision := policy.decide(queue, now, PLENTY), Wait):
        assert now < decision.until <= 0.002
        now = decision.until
    assert isinstance(decision, Run)


def test_it_does_not_wait_with_a_full_batch_or_for_others_left_behind() -> None:
    policy = busy(learned(Limits(4, 16384, 0.005)), 2000)
    assert lengths_of(policy.decide(filled(10, 10, 10, 10, 10), 0, PLENTY)) == [10] * 4
    assert lengths_of(busy(learned(Limits(64, 60, 0.005)), 2000).decide(filled(30, 20, 25), 0, PLENTY)) == [30, 20]


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=80),
    st.integers(1, 64),
    st.integers(1, 4096),
    st.floats(0, 1),
    st.floats(0, 5000),
    st.none() | st.floats(0, 0.1),
    st.sampled_from([0.0, 1e6, 1e7, PLENTY]),
)
def test_caps_and_deadlines_hold(
    lengths: list[int], rows: int, tokens: int, delay: float, rate: float, deadline: float | None, available: float
) -> None:
    policy = busy(learned(Limits(rows, tokens, delay)), max(1, int(rate)))
    queue = filled(*lengths, deadline=deadline)
    now, steps, done = 0.0, 0, 0
    while (decision := policy.decide(queue, now, available)) is not None:
        steps += 1
        assert steps < 200
        if isinstance(decision, Wait):
            assert now < decision.until <= delay
            waiting = [length for length in lengths if queue.rows == len(lengths)]
            # Whoever waits could still be in time after the wait, with the row that is waited for.
            done_at = decision.until + policy.costs.seconds(
                (queue.rows + 1) * max(waiting, default=0), max(waiting, default=0)
            )
            assert deadline is None or not waiting or done_at <= deadline
            now = decision.until
            continue
        chosen = [row.length for row in decision.rows]
        padded = len(chosen) * max(chosen)
        assert 1 <= len(chosen) <= rows
        if len(chosen) > 1:
            assert padded <= tokens
            assert not padded or policy.costs.bytes(padded, max(chosen)) <= available * 1.0001
            wasted = (padded - sum(chosen)) * policy.costs.token_seconds(max(chosen))
            assert padded <= WASTE * sum(chosen) or wasted <= policy.costs.overhead(max(chosen))
        queue.take(decision.rows)
        done += len(chosen)
    assert done == len(lengths)


def test_an_oversize_row_runs_alone() -> None:
    policy = learned(Limits(8, 100, 0))
    queue = filled(5000, 10, 10)
    decision = policy.decide(queue, 0, 0.0)
    assert isinstance(decision, Run) and lengths_of(decision) == [5000]
    queue.take(decision.rows)
    assert lengths_of(policy.decide(queue, 0, PLENTY)) == [10, 10]


def test_similar_lengths_go_together_where_tokens_cost() -> None:
    on_cpu = learned(Limits(64, 16384, 0), 1e-4, 2e-3)
    assert lengths_of(on_cpu.decide(filled(200, 10, 190, 12, 210), 0, PLENTY)) == [200, 190, 210]
    on_gpu = learned(Limits(64, 16384, 0))
    assert len(lengths_of(on_gpu.decide(filled(200, 10, 190, 12, 210), 0, PLENTY))) == 5


def test_memory_that_ran_out_halves_the_cap_which_recovers_slowly() -> None:
    policy = learned(Limits(64, 4096, 0))
    policy.ran_out_of_memory(32 * 64)
    assert policy.token_limit == 1024
    policy.ran_out_of_memory(32 * 16)
    assert policy.token_limit == 256
    assert len(lengths_of(policy.decide(filled(*[64] * 32), 0, PLENTY))) == 4
    policy.ran(16, 16, 0.005, None)  # a small batch proves nothing
    assert policy.token_limit == 256
    batches = 0
    while policy.token_limit < 4096:
        size = len(lengths_of(policy.decide(filled(*[16] * 64), 0, PLENTY)))
        policy.ran(size * (16 if size < 64 else 64), 16 if size < 64 else 64, 0.005, None)
        batches += 1
    assert 100 < batches < 200
    for _ in range(100):
        policy.ran_out_of_memory(1)
    assert policy.token_limit == 1 and not math.isnan(policy.token_limit)
    assert lengths_of(policy.decide(filled(64, 64), 0, PLENTY)) == [64]


def test_a_batch_is_no_larger_than_pays() -> None:
    """From 19 times its fixed cost on: 5e-3 / 1e-4 · 19 = 950 tokens here; on a GPU that is beyond all limits."""
    on_cpu = learned(Limits(64, 16384, 0), 1e-4, 5e-3)
    assert 950 <= sum(lengths_of(on_cpu.decide(filled(*[64] * 64), 0, PLENTY))) <= 950 + 64
    on_gpu = learned(Limits(64, 16384, 0))
    assert len(lengths_of(on_gpu.decide(filled(*[64] * 64), 0, PLENTY))) == 64
    queue = filled()
    queue.add(Entry([64] * 40, 1, 0))  # one request, which is answered as a whole
    queue.add(Entry([64], 1, 0))
    assert len(lengths_of(on_cpu.decide(queue, 0, PLENTY))) == 40


def test_a_batch_takes_a_part_of_the_time_that_its_rows_have() -> None:
    policy = learned(Limits(64, 16384, 0), 1e-4, 5e-3)  # 6.4 ms a row
    rows = lengths_of(policy.decide(filled(*[64] * 10, deadline=0.12), 0, PLENTY))
    assert len(rows) == 5  # 37 ms, of 40
    assert len(lengths_of(policy.decide(filled(*[64] * 10), 0, PLENTY))) == 10


def test_who_would_be_late_is_passed_over_while_there_are_others() -> None:
    policy = learned(Limits(64, 16384, 0), 1e-4, 5e-3)
    queue = filled(64, arrival=0, deadline=1.01)
    queue.add(Entry([65], 1, 0.9, 1.9))
    assert lengths_of(policy.decide(queue, 1.0, PLENTY)) == [65]
    # A prediction can only be mended by a try: alone it runs.
    assert lengths_of(policy.decide(filled(64, arrival=0, deadline=1.01), 1.0, PLENTY)) == [64]


def test_one_in_a_hurry_makes_no_small_batch_of_a_crowd() -> None:
    policy = learned(Limits(64, 16384, 0), 1e-4, 5e-3)
    queue = filled(64, arrival=-0.1, deadline=0.05)  # time for four such rows
    for _ in range(20):
        queue.add(Entry([65], 1, 0.0, 0.3))
    crowd = lengths_of(policy.decide(queue, 0, PLENTY))
    assert len(crowd) > 10 and set(crowd) == {65}
    few = filled(64, arrival=-0.1, deadline=0.05)
    few.add(Entry([65], 1, 0.0, 0.3))
    assert lengths_of(policy.decide(few, 0, PLENTY)) == [64, 65]
