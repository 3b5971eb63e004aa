"""The work queue keeps client-go's promises."""

import asyncio

import pytest

from springtide.api.errors import Bug, Conflict, Forbidden, Invalid, NameConflict, Unavailable
from springtide.controllers.queue import WorkQueue
from springtide.controllers.worker import POLICY, settle, work


async def test_a_waiting_key_is_there_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "a"):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_in_work_comes_again_when_it_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0, "no second worker may get it"
    queue.done("a")
    assert await queue.get() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_no_key_is_worked_on_twice_at_a_time() -> None:
    queue: WorkQueue[int] = WorkQueue()
    busy: set[int] = set()
    done: list[int] = []

    async def worker() -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            await asyncio.sleep(0.001)
            busy.remove(key)
            done.append(key)
            queue.done(key)

    workers = [asyncio.create_task(worker()) for _ in range(4)]
    for _ in range(20):
        for key in range(5):
            queue.add(key)
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert all(not task.done() for task in workers)
    for task in workers:
        task.cancel()
    assert set(done) == set(range(5))
    assert len(done) < 100, "additions while a key waits are one"


async def test_of_several_delays_the_earliest_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30)
    queue.add_after("a", 0.01)
    queue.add_after("a", 20)
    assert await asyncio.wait_for(queue.get(), 1) == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_backoff_doubles_up_to_a_cap_and_starts_anew() -> None:
    queue: WorkQueue[str] = WorkQueue()
    delays = [queue.retry("a", base=1, cap=5) for _ in range(5)]
    assert delays == [1, 2, 4, 5, 5]
    queue.forget("a")
    assert queue.retry("a", base=1, cap=5) == 1
    assert queue.retry("b", base=1, cap=5, at_least=60) == 60


async def test_work_has_an_age() -> None:
    queue: WorkQueue[str] = WorkQueue()
    assert queue.longest_work() == 0
    queue.add("a")
    await queue.get()
    await asyncio.sleep(0.02)
    assert queue.longest_work() >= 0.01


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (Conflict("x"), 0.05),
        (NameConflict("x"), 5),
        (Forbidden("x"), 1),
        (Unavailable("x", retry_after=7), 7),
        (Bug("x"), 1),
    ],
)
async def test_each_error_has_its_delay(error: Conflict, delay: float) -> None:
    queue: WorkQueue[tuple[str, str]] = WorkQueue()
    settle(queue, ("ns", "a"), error)
    assert queue._delayed["ns", "a"].when() == pytest.approx(asyncio.get_running_loop().time() + delay, abs=0.5)


async def test_an_invalid_spec_waits_for_an_edit() -> None:
    queue: WorkQueue[tuple[str, str]] = WorkQueue()
    settle(queue, ("ns", "a"), Invalid("x"))
    assert not queue._delayed
    assert POLICY[Invalid] is None


async def test_a_key_that_failed_waits() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.retry("a", base=60, cap=60)
    assert queue.waits("a")
    assert not queue.waits("b")


async def test_many_keys_leave_room_for_what_else_runs() -> None:
    class Idle:
        async def reconcile(self, key: tuple[str, str]) -> None:
            """Find nothing to do, so nothing is waited for."""

    queue: WorkQueue[tuple[str, str]] = WorkQueue()
    for number in range(100):
        queue.add(("a", str(number)))
    worker = asyncio.create_task(work(queue, Idle(), lambda seconds, error: None))  # type: ignore[arg-type]
    for _ in range(10):
        await asyncio.sleep(0)
    assert 80 <= len(queue) < 100
    worker.cancel()
