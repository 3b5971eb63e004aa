"""What the next step computes, without a model: a step's tokens are computed at once, and each gives the token 0."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springtide_server.engine.blocks import BlockPool
from springtide_server.engine.queue import PriorityQueue
from springtide_server.engine.scheduler import Scheduler, StepLimits
from springtide_server.engine.sequence import Sequence
from springtide_server.engine.work import Generate, Job, Terms
from springtide_server.priorities import DEFAULTS

CRITICAL, STANDARD, BACKGROUND = range(3)


class Bench:
    """A scheduler and the loop around it."""

    def __init__(self, blocks: int = 64, size: int = 4, tokens: int = 16, sequences: int = 8, host: int = 0) -> None:
        self.queue: PriorityQueue[Job] = PriorityQueue(DEFAULTS, 10_000, 1 << 40)
        self.pool = BlockPool(blocks, size, host)
        self.scheduler = Scheduler(self.queue, self.pool, StepLimits(tokens, sequences))
        self.ended: list[Job] = []

    def ask(self, prompt: int | list[int], new: int = 4, rank: int = STANDARD) -> Job:
        tokens = prompt if isinstance(prompt, list) else [1 + len(self.queue)] * prompt
        job = Job(Generate(tokens, new), Terms(rank))
        self.queue.add(job)
        return job

    def step(self) -> list[tuple[Job, int]]:
        """Compute one; who took part with how many tokens."""
        step = self.scheduler.plan()
        limits = self.scheduler.limits
        assert sum(one.scheduled for one in step) <= limits.tokens
        assert len(step) <= len(self.scheduler.running) <= limits.sequences
        told = [(one.job, one.scheduled) for one in step]
        for one in step:
            assert len(one.blocks) == self.pool.blocks(one.computed + one.scheduled)
            completes = one.completes
            self.scheduler.computed(one)
            if completes:
                one.tokens.append(0)
            if one.generated == one.request.max_tokens:
                self.scheduler.finish(one)
                self.ended.append(one.job)
        self.pool.copies.clear()
        return told

    def run(self) -> None:
        steps = 0
        while self.step():
            steps += 1
            assert steps < 20_000, "it goes round in circles"

    def sequence(self, job: Job) -> Sequence:
        return next(one for one in self.scheduler.running if one.job is job)


async def test_writers_go_on_while_a_long_prompt_is_read() -> None:
    bench = Bench(tokens=10)
    writer = bench.ask(4, new=20)
    bench.step()
    reader = bench.ask([2] * 30)
    assert [bench.step() for _ in range(3)] == [[(writer, 1), (reader, 9)]] * 3
    assert bench.step() == [(writer, 1), (reader, 3)]
    assert bench.step() == [(writer, 1), (reader, 1)]


async def test_several_begin_in_one_step() -> None:
    bench = Bench(tokens=20, sequences=3)
    jobs = [bench.ask(5, rank=STANDARD) for _ in range(5)]
    assert bench.step() == [(job, 5) for job in jobs[:3]], "no more than three run"


async def test_a_known_beginning_is_not_computed_again() -> None:
    bench = Bench()
    bench.ask([7] * 12, new=1)
    bench.run()
    job = bench.ask([7] * 12, new=1)
    assert bench.step() == [(job, 4)], "the last token is always computed, with the block it is in"
    assert bench.scheduler.counts == (0, 24, 8)


async def test_the_worst_gives_way_and_comes_back() -> None:
    bench = Bench(blocks=6, tokens=64)
    best, worst = bench.ask([1] * 8, new=14, rank=CRITICAL), bench.ask([2] * 8, new=6, rank=BACKGROUND)
    bench.run()
    assert bench.ended == [best, worst]
    assert bench.scheduler.preemptions >= 1
    assert bench.pool.free == 6


async def test_a_better_class_takes_the_place_of_a_worse_one_once() -> None:
    bench = Bench(sequences=1, tokens=64)
    slow = bench.ask(4, new=50, rank=BACKGROUND)
    bench.step()
    first = bench.ask(4, new=3, rank=CRITICAL)
    assert bench.step() == [(first, 4)], "not at the end of the worse one"
    while first not in bench.ended:
        bench.step()
    bench.step()
    second = bench.ask(4, new=3, rank=CRITICAL)
    assert bench.step() == [(slow, 1)], "it has given way once"
    bench.run()
    assert bench.ended == [first, slow, second]


async def test_equals_do_not_displace_each_other() -> None:
    bench = Bench(sequences=1, tokens=64)
    first = bench.ask(4, new=6)
    bench.step()
    second = bench.ask(4, new=6)
    bench.run()
    assert bench.ended == [first, second] and bench.scheduler.preemptions == 0


async def test_nobody_is_displaced_where_that_would_not_be_enough() -> None:
    bench = Bench(blocks=10, tokens=64)
    critical = bench.ask(24, new=2, rank=CRITICAL)
    background = bench.ask(4, new=4, rank=BACKGROUND)
    bench.step()
    bench.ask([9] * 30, rank=CRITICAL)
    bench.step()
    assert {one.job for one in bench.scheduler.running} <= {critical, background}
    assert bench.scheduler.preemptions == 0


async def test_who_gave_way_is_not_passed_over_for_ever() -> None:
    bench = Bench(sequences=1, tokens=64)
    displaced = bench.ask(4, new=5, rank=BACKGROUND)
    bench.step()
    before = 0
    while displaced not in bench.ended:
        bench.ask(4, new=1, rank=CRITICAL)
        bench.step()
        before += 1
        assert before < 40
    assert bench.scheduler.preemptions == 1


async def test_a_reader_that_left_takes_nothing() -> None:
    bench = Bench()
    job = bench.ask(10, new=50)
    bench.step()
    job.cancelled = True
    assert bench.step() == [] and bench.pool.free == 64


REQUESTS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 20), st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=12
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(REQUESTS, st.integers(13, 40), st.integers(1, 20), st.integers(1, 5), st.integers(0, 6))
async def test_all_are_answered_and_all_blocks_come_back(
    requests: list[tuple[int, int, int, int]], blocks: int, tokens: int, sequences: int, host: int
) -> None:
    bench = Bench(blocks=blocks, tokens=tokens, sequences=sequences, host=host)
    jobs = []
    for prompt, new, rank, kind in requests:
        jobs.append(bench.ask([kind] * prompt, new, rank))
        bench.step()
    bench.run()
    assert sorted(map(id, bench.ended)) == sorted(map(id, jobs))
    assert bench.pool.free == blocks and not bench.scheduler.running and not bench.scheduler.preempted
