"""The batch engine in this process, with callables that need no torch: batches, failures, deadlines, refusals."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from springtide_server.engine.batch import BatchEngine
from springtide_server.engine.batching import Limits
from springtide_server.engine.engine import QueueSettings
from springtide_server.engine.tokenizer import Tokenizer
from springtide_server.engine.work import Embed, Job, Terms, Vectors
from springtide_server.errors import ModelError, RequestError
from springtide_server.metrics import Metrics
from springtide_server.policy import RuntimePolicy
from springtide_server.priorities import DEFAULTS, PriorityClass
from tests.model_server.stand_ins import Plenty

CRITICAL, STANDARD, BACKGROUND = 0, 1, 2
LIMITS = Limits(rows=8, tokens=1000, delay=0)


@dataclass
class Summing:
    """Answers each row with the sum of its tokens; may be held up, and may be told to fail."""

    fail: Callable[[Sequence[Sequence[int]]], None] = lambda rows: None
    context_length: int = 512
    packs = False
    device: object = None
    batches: list[list[list[int]]] = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        self.batches.append([list(row) for row in rows])
        self.entered.set()
        assert self.go.wait(60)
        self.fail(rows)
        return [str(sum(row)).encode() for row in rows]


@dataclass
class Running:
    engine: BatchEngine
    model: Summing
    metrics: Metrics

    def submit(self, *inputs: list[int], rank: int = STANDARD, seconds: float | None = None) -> Job:
        deadline = None if seconds is None else time.monotonic() + seconds
        return self.engine.submit(Embed(list(inputs)), Terms(rank, deadline))

    async def hold(self) -> Job:
        """A job that keeps the model busy until `model.go` is set."""
        self.model.entered.clear()
        self.model.go.clear()
        job = self.submit([1])
        await asyncio.to_thread(self.model.entered.wait, 60)
        self.model.batches.clear()
        return job

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"springtide_{name}", labels) or 0


@asynccontextmanager
async def running(model: Summing, limits: Limits = LIMITS, **settings: Any) -> AsyncIterator[Running]:
    metrics, failures = Metrics(), list[ModelError]()
    loaded, memory = (model, cast(Tokenizer, None)), Plenty()
    engine = BatchEngine("m", lambda phase: loaded, QueueSettings(**settings), limits, metrics, lambda device: memory)
    model.go.set()
    engine.start(failures.append)
    while engine.state == "loading":  # noqa: ASYNC110  # another thread sets it
        await asyncio.sleep(0.01)
    assert engine.state == "ready", failures
    model.batches.clear()
    yield Running(engine, model, metrics)
    model.go.set()
    assert engine.alive


async def answer(job: Job) -> list[int]:
    rows: dict[int, bytes] = {}
    async with asyncio.timeout(60):
        async for result in job.results(Vectors):
            rows.update(result.rows)
    return [int(rows[number]) for number in range(len(rows))]


async def refusal(job: Job) -> RequestError:
    with pytest.raises(RequestError) as refused:
        await answer(job)
    return refused.value


def refused(submit: Callable[[], Job]) -> RequestError:
    with pytest.raises(RequestError) as error:
        submit()
    return error.value


async def test_what_waits_goes_together() -> None:
    async with running(Summing()) as server:
        first = await server.hold()
        jobs = [server.submit([number], [number, number]) for number in range(3)]
        server.model.go.set()
        assert [await answer(job) for job in jobs] == [[0, 0], [1, 2], [2, 4]]
        assert await answer(first) == [1]
        assert [len(batch) for batch in server.model.batches] == [6]
        assert server.count("queue_wait_seconds_count", **{"class": "standard"}) == 4


async def test_batches_of_one_row() -> None:
    async with running(Summing(), Limits(1, 1, 0)) as server:
        assert await answer(server.submit([1, 2, 3], [4], [])) == [6, 4, 0]
        assert [len(batch) for batch in server.model.batches] == [1, 1, 1]


async def test_memory_that_runs_out_splits_the_batch_and_answers_all() -> None:
    def no_more_than_two(rows: Sequence[Sequence[int]]) -> None:
        if len(rows) > 2 and any(map(any, rows)):  # the calibration before the first request has zeros
            raise MemoryError

    async with running(Summing(no_more_than_two)) as server:
        await server.hold()
        jobs = [server.submit([number] * 10) for number in range(8)]
        server.model.go.set()
        assert [await answer(job) for job in jobs] == [[10 * number] for number in range(8)]
        assert [len(batch) for batch in server.model.batches] == [8, 4, 2, 2, 4, 2, 2]
        assert server.count("out_of_memory_retries_total") == 3
        assert 20 <= server.count("batch_token_limit") < 40
        assert await answer(server.submit([5])) == [5]


async def test_a_row_that_never_fits_fails_alone() -> None:
    def no_hundred(rows: Sequence[Sequence[int]]) -> None:
        if max(map(len, rows)) >= 100:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    async with running(Summing(no_hundred)) as server:
        await server.hold()
        good, bad, also_good = server.submit([1]), server.submit([2], [1] * 100), server.submit([3])
        server.model.go.set()
        assert (await answer(good), await answer(also_good)) == ([1], [3])
        error = await refusal(bad)
        assert (error.status, error.code) == (413, "out_of_memory")
        assert server.count("rejections_total", reason="out_of_memory", **{"class": "standard"}) == 1


async def test_bad_input_in_a_batch_harms_nobody() -> None:
    def no_seven(rows: Sequence[Sequence[int]]) -> None:
        if any(7 in row for row in rows):
            raise ValueError("seven")

    async with running(Summing(no_seven)) as server:
        await server.hold()
        jobs = [server.submit([number]) for number in range(8)]
        server.model.go.set()
        assert [await answer(job) for job in jobs[:7]] == [[number] for number in range(7)]
        error = await refusal(jobs[7])
        assert (error.status, error.type) == (500, "server_error")


async def test_a_model_that_gives_too_few_results_fails_the_requests_only() -> None:
    class Short(Summing):
        def __call__(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
            return super().__call__(rows)[: None if max(map(sum, rows)) < 100 else -1]

    async with running(Short()) as server:
        assert (await refusal(server.submit([100]))).status == 500
        assert await answer(server.submit([1])) == [1]


async def test_a_deadline_that_passes_while_waiting_is_told_at_once_and_costs_nothing() -> None:
    async with running(Summing()) as server:
        await server.hold()
        late, patient = server.submit([2], seconds=0.05), server.submit([3], seconds=60)
        error = await refusal(late)
        assert (error.status, error.code, error.type) == (504, "deadline_exceeded", "timeout_error")
        assert not server.model.go.is_set()  # the model is still busy
        server.model.go.set()
        assert await answer(patient) == [3]
        assert server.model.batches == [[[3]]]
        assert server.count("rejections_total", reason="deadline", **{"class": "standard"}) == 1


async def test_who_would_be_late_is_told_early_but_not_by_a_server_that_has_seen_little() -> None:
    async with running(Summing(lambda rows: time.sleep(0.1 * (rows[0][0] == 9)))) as server:
        for _ in range(8):
            await answer(server.submit([9]))  # 0.1 s a token
        await server.hold()
        waiting = [server.submit([1] * 10) for _ in range(5)]
        error = refused(lambda: server.submit([1], seconds=1))
        assert (error.status, error.code) == (429, "deadline_unreachable")
        assert error.retry_after_seconds is not None and 1 < error.retry_after_seconds <= 10
        assert server.submit([1], seconds=30) in server.engine._queue
        # Better classes have less before them.
        assert server.submit([1], rank=CRITICAL, seconds=1) in server.engine._queue
        server.model.go.set()
        assert [await answer(job) for job in waiting] == [[10]] * 5
    async with running(Summing()) as fresh:
        await fresh.hold()
        fresh.submit([1] * 500)
        fresh.submit([1], seconds=0.02)


async def test_a_full_queue_gives_places_to_better_classes() -> None:
    async with running(Summing(), places=3) as server:
        await server.hold()
        background = server.submit([1], rank=BACKGROUND)
        standard = [server.submit([2]), server.submit([3])]
        critical = server.submit([4], rank=CRITICAL)
        error = await refusal(background)
        assert (error.status, error.code) == (429, "evicted")
        assert error.retry_after_seconds is not None and error.retry_after_seconds >= 1
        assert refused(lambda: server.submit([5])).code == "queue_full"
        assert refused(lambda: server.submit([5], rank=BACKGROUND)).code == "shed"
        with pytest.raises(RequestError, match="queue is full"):
            server.engine.admit(Terms(STANDARD))
        server.engine.admit(Terms(CRITICAL))
        server.model.go.set()
        assert [await answer(job) for job in [*standard, critical]] == [[2], [3], [4]]
        for reason, name in (("evicted", "background"), ("queue_full", "standard"), ("shed", "background")):
            assert server.count("rejections_total", reason=reason, **{"class": name}) >= 1


async def test_a_request_larger_than_the_queue() -> None:
    async with running(Summing(), tokens=100) as server:
        error = refused(lambda: server.submit([1] * 60, [1] * 41))
        assert (error.status, error.code) == (413, "request_too_large")
        assert await answer(server.submit([1] * 60, [1] * 40)) == [60, 40]


async def test_who_leaves_gives_up_the_place_and_is_not_computed() -> None:
    async with running(Summing(), places=1) as server:
        await server.hold()
        leaver = server.submit([2])
        server.engine.cancel(leaver)
        stayer = server.submit([3])
        server.model.go.set()
        assert await answer(stayer) == [3]
        assert server.model.batches == [[[3]]]


POLICY = RuntimePolicy(DEFAULTS, 8, 0, 90)
GOLD = (PriorityClass("gold", 50), PriorityClass("critical"), PriorityClass("other"))


async def test_a_policy_changes_the_limits_of_the_next_batch() -> None:
    async with running(Summing()) as server:
        await server.hold()
        jobs = [server.submit([number]) for number in range(6)]
        server.engine.apply(replace(POLICY, max_batch_size=2, target_memory_percent=40))
        server.model.go.set()
        assert [await answer(job) for job in jobs] == [[number] for number in range(6)]
        assert [len(batch) for batch in server.model.batches] == [2, 2, 2]
        assert server.count("batch_row_limit") == 2
        assert server.engine._memory.percent == 40


async def test_a_model_that_waits_for_more_rows_is_told_of_a_smaller_limit() -> None:
    async with running(Summing(), Limits(8, 1000, 3600)) as server:
        job = server.submit([1])
        server.engine.apply(replace(POLICY, max_batch_size=1))
        assert await answer(job) == [1]


async def test_classes_change_while_requests_wait_and_run() -> None:
    def no_nine(rows: Sequence[Sequence[int]]) -> None:
        if any(9 in row for row in rows):
            raise MemoryError

    async with running(Summing(no_nine)) as server:
        server.model.go.clear()
        server.model.entered.clear()
        runs = server.submit([9], rank=CRITICAL)
        await asyncio.to_thread(server.model.entered.wait, 60)
        background, critical = server.submit([1], rank=BACKGROUND), server.submit([2], rank=CRITICAL)
        late = server.submit([3], seconds=0.05)
        server.engine.apply(replace(POLICY, priorities=GOLD))
        assert [(job.rank, GOLD[job.rank].name) for job in (background, critical, runs)] == [
            *((2, "other"), (1, "critical"), (1, "critical"))
        ]
        depths = {name: server.count("queue_depth", **{"class": name}) for name in ("gold", "critical", "other")}
        assert depths == {"gold": 0, "critical": 1, "other": 2}
        for gone in ("standard", "background"):
            assert server.metrics.registry.get_sample_value("springtide_queue_depth", {"class": gone}) is None
        assert (await refusal(late)).code == "deadline_exceeded"
        assert server.count("rejections_total", reason="deadline", **{"class": "other"}) == 1
        # One that was read before and comes now: its class has gone, or has another rank.
        embed = Embed([[4]])
        came = [server.engine.submit(embed, Terms(rank, None, DEFAULTS[rank].name)) for rank in (BACKGROUND, CRITICAL)]
        assert [job.rank for job in came] == [2, 1]
        server.model.go.set()
        assert (await refusal(runs)).code == "out_of_memory"
        assert server.count("rejections_total", reason="out_of_memory", **{"class": "critical"}) == 1
        assert [await answer(job) for job in (background, critical, *came)] == [[1], [2], [4], [4]]


async def test_a_shed_class_is_refused_until_it_is_no_more() -> None:
    async with running(Summing()) as server:
        await server.hold()
        waits = server.submit([1], rank=BACKGROUND)
        server.engine.apply(replace(POLICY, shed_classes=frozenset({"background"})))
        error = refused(lambda: server.submit([2], rank=BACKGROUND))
        assert (error.status, error.code, error.type) == (429, "shed_by_policy", "rate_limit_error")
        assert error.retry_after_seconds is not None and error.retry_after_seconds >= 10
        with pytest.raises(RequestError, match="refused for now"):
            server.engine.admit(Terms(BACKGROUND))
        standard = server.submit([3])
        assert server.count("rejections_total", reason="shed_by_policy", **{"class": "background"}) == 2
        server.engine.apply(POLICY)
        again = server.submit([4], rank=BACKGROUND)
        server.model.go.set()
        # Who waited was let in before.
        assert [await answer(job) for job in (waits, standard, again)] == [[1], [3], [4]]


async def test_nothing_is_lost_while_policies_change() -> None:
    names = [f"c{number}" for number in range(8)]

    def now_and_then(rows: Sequence[Sequence[int]]) -> None:
        if len(rows) > 6:
            raise MemoryError

    async with running(Summing(now_and_then), Limits(16, 400, 0.002), places=1000) as server:

        async def one(number: int) -> None:
            inputs = [[number] * (1 + (number * step) % 30) for step in range(1, 2 + number % 4)]
            for _ in range(number % 20):
                await asyncio.sleep(0)
            classes = server.engine.classes
            rank = number % len(classes)
            await asyncio.sleep(0)
            job = server.engine.submit(Embed(inputs), Terms(rank, None, classes[rank].name))
            await asyncio.sleep(0)
            if number % 7 == 0:
                server.engine.cancel(job)
            else:
                assert await answer(job) == [sum(row) for row in inputs]

        async def change() -> None:
            for number in range(300):
                chosen = [PriorityClass(name, 10) for name in names[: 1 + number % 8][:: -1 if number % 3 else 1]]
                server.engine.apply(replace(POLICY, priorities=chosen, max_batch_size=1 + number % 16))
                await asyncio.sleep(0)

        await asyncio.gather(change(), *map(one, range(400)), change())
        assert server.count("queue_depth", **{"class": "c0"}) == 0


async def test_nothing_is_lost_under_load_with_failures_and_leavers() -> None:
    calls = 0

    def now_and_then(rows: Sequence[Sequence[int]]) -> None:
        nonlocal calls
        calls += 1
        if calls % 5 == 0 and len(rows) > 1:
            raise MemoryError

    async with running(Summing(now_and_then), Limits(16, 400, 0.002), places=1000) as server:

        async def one(number: int) -> None:
            if number % 10 == 0:
                await asyncio.sleep(0.01)
            inputs = [[number] * (1 + (number * step) % 30) for step in range(1, 2 + number % 4)]
            job = server.submit(*inputs, rank=number % 3)
            if number % 7 == 0:
                server.engine.cancel(job)
            else:
                assert await answer(job) == [sum(row) for row in inputs]

        await asyncio.gather(*map(one, range(200)))
        assert sum(server.count("queue_depth", **{"class": name}) for name in ("critical", "standard")) == 0
