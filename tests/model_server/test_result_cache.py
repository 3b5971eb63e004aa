"""The result cache against a real Redis, frozen, killed and filled with rubbish. The model is a counter here."""

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from springtide_server.cache.breaker import Breaker
from springtide_server.cache.flights import Flights
from springtide_server.cache.identity import content_of, release
from springtide_server.cache.keys import Identity, keys, lifetime_milliseconds, seal, unseal
from springtide_server.cache.metrics import CacheMetrics
from springtide_server.cache.options import StoreSettings
from springtide_server.cache.store import Store
from springtide_server.engine.work import Terms
from springtide_server.errors import RequestError
from tests.model_server.redis_process import RedisProcess

CRITICAL, STANDARD = Terms(0), Terms(1)
SOMEBODY = Identity("1", "r", "float32 cpu")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis(started: RedisProcess) -> RedisProcess:
    started.client.flushall()
    return started


@dataclass
class Replica:
    """One process with its cache: a model that tells the key and how often it was asked."""

    settings: StoreSettings
    wait: float = 5.0
    asked: list[bytes] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.registry = CollectorRegistry()
        metrics = CacheMetrics(self.registry)
        self.store = Store(self.settings, metrics)
        self.flights = Flights(self.store, metrics, self.wait)
        self.go.set()

    async def compute(self, some: list[bytes]) -> list[bytes]:
        self.asked += some
        await self.go.wait()
        return [b"result of " + key for key in some]

    async def left(self) -> None:
        await self.gone.wait()
        raise ConnectionError

    async def ask(self, *numbers: int, terms: Terms = STANDARD) -> str:
        """Ask for the results of these rows, check them, and wait until they are kept; the status."""
        names = keys(SOMEBODY, "", {}, [[number] for number in numbers])
        async with asyncio.timeout(60):
            results, report = await self.flights.results(names, terms, self.compute, self.left)
            assert results == [b"result of " + name for name in names]
            if self.go.is_set():
                await asyncio.gather(*self.flights._tasks)
        return report.status

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"springtide_result_cache_{name}", labels) or 0


@asynccontextmanager
async def replica(redis: RedisProcess, wait: float = 5.0, **changes: object) -> AsyncIterator[Replica]:
    # A deadline that a busy machine keeps too, unless the test is about the deadline.
    settings = StoreSettings(redis.url, redis.password or None, lifetime=100, max_bytes=1000, deadline=5.0)
    one = Replica(replace(settings, **changes), wait)  # type: ignore[arg-type]
    yield one
    one.go.set()
    await asyncio.gather(*one.flights._tasks, return_exceptions=True)
    await one.store.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # several tasks lead there
            await asyncio.sleep(0.01)


async def until_hit(one: Replica) -> None:
    async with asyncio.timeout(60):
        while await one.ask(1) != "hit":  # noqa: ASYNC110  # Redis comes back when it likes
            await asyncio.sleep(0.05)


async def test_rows_are_shared_by_batches_of_all_replicas(redis: RedisProcess) -> None:
    async with replica(redis) as one, replica(redis) as other:
        assert await one.ask(1, 2, 2, 3) == "fwd=miss"
        assert len(one.asked) == 3
        assert await one.ask(3, 1) == "hit"
        assert await other.ask(2, 4, 3) == 'fwd=partial; detail="2 of 3 rows"'
        assert (len(one.asked), len(other.asked)) == (3, 1)
        assert (other.count("rows_total", outcome="hit"), other.count("rows_total", outcome="miss")) == (2, 1)
        assert one.count("entry_bytes_count") == 3
        assert not [name for name in redis.client.scan_iter() if name.endswith(b":lock")]
        assert all(90_000 * 0.99 < redis.client.pttl(name) <= 110_000 for name in redis.entries())


async def test_more_rows_than_go_into_one_call(redis: RedisProcess) -> None:
    async with replica(redis) as one, replica(redis) as other:
        await one.ask(*range(1000))
        assert (await other.ask(*range(1000)), other.asked) == ("hit", [])


async def test_twenty_equal_requests_at_once_are_computed_once(redis: RedisProcess) -> None:
    async with replica(redis) as one:
        statuses = await asyncio.gather(*(one.ask(7) for _ in range(20)))
        assert len(one.asked) == 1
        assert sorted(statuses) == ["fwd=miss", *["fwd=miss; collapsed"] * 19]


async def test_replicas_wait_for_each_other(redis: RedisProcess) -> None:
    async with replica(redis) as one, replica(redis) as other:
        one.go.clear()
        first = asyncio.create_task(one.ask(7))
        await until(lambda: len(one.asked) > 0)
        second = asyncio.create_task(other.ask(7, 8))
        await until(lambda: len(other.asked) > 0)
        one.go.set()
        assert await first == "fwd=miss"
        assert await second == 'fwd=partial; detail="1 of 2 rows"'
        assert (len(one.asked), len(other.asked)) == (1, 1)


async def test_another_replica_is_waited_for_no_longer_than_agreed(redis: RedisProcess) -> None:
    async with replica(redis) as one, replica(redis, wait=0.1) as other:
        one.go.clear()
        first = asyncio.create_task(one.ask(7))
        await until(lambda: len(one.asked) > 0)
        assert await other.ask(7) == "fwd=miss"
        assert not first.done()
        one.go.set()
        await first


async def test_a_failure_is_not_shared(redis: RedisProcess) -> None:
    async with replica(redis) as one, replica(redis) as other:
        computations = 0

        async def refused(some: list[bytes]) -> list[bytes]:
            nonlocal computations
            computations += 1
            await asyncio.sleep(0.05)
            raise RequestError(429, "full")

        names = keys(SOMEBODY, "", {}, [[7]])
        tasks = [one.flights.results(names, STANDARD, refused, one.left) for _ in range(3)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [RequestError] * 3
        assert computations == 3
        # The lock is given back, so that nobody waits for it.
        await asyncio.gather(*one.flights._tasks)
        assert redis.client.keys() == []
        assert await other.ask(7) == "fwd=miss"


async def test_who_leaves_waits_no_more_and_disturbs_nobody(redis: RedisProcess) -> None:
    async with replica(redis) as one:
        one.go.clear()
        first = asyncio.create_task(one.ask(7))
        await until(lambda: len(one.asked) == 1)
        leaver = asyncio.create_task(one.ask(7))
        await asyncio.sleep(0.05)
        one.gone.set()
        with pytest.raises(ConnectionError):
            await leaver
        assert not first.done()
        one.go.set()
        assert await first == "fwd=miss"
        assert len(one.asked) == 1


@pytest.mark.parametrize("deadline", [None, 0.05])
async def test_nobody_waits_for_a_worse_class_nor_beyond_the_deadline(
    redis: RedisProcess, deadline: float | None
) -> None:
    async with replica(redis, wait=0.05) as one:
        one.go.clear()
        slow = asyncio.create_task(one.ask(7))
        await until(lambda: len(one.asked) == 1)
        impatient = CRITICAL if deadline is None else Terms(1, time.monotonic() + deadline)
        other = asyncio.create_task(one.ask(7, terms=impatient))
        await until(lambda: len(one.asked) == 2)
        one.go.set()
        await asyncio.gather(slow, other)


async def test_a_frozen_redis_costs_one_deadline_a_request_until_it_is_left_alone(redis: RedisProcess) -> None:
    async with replica(redis, deadline=0.02) as one:
        redis.freeze()
        try:
            for number in range(20):
                assert await one.ask(number) == "fwd=miss"
        finally:
            redis.thaw()
        # Five requests waited for one call each, and the others for none.
        assert one.count("errors_total", reason="timeout") == 5
        assert one.count("available") == 0
    # Its late replies belong to nobody: whoever comes next gets their own.
    async with replica(redis) as one:
        for number in [*range(20)] * 2:
            await one.ask(number)
        assert one.count("rows_total", outcome="hit") >= 20


async def test_a_redis_that_freezes_and_goes_on_is_used_again(redis: RedisProcess) -> None:
    async with replica(redis, deadline=0.5) as one:
        one.store._breaker = Breaker(failures=2, seconds=0.2)
        await one.ask(1)
        redis.freeze()
        try:
            assert [await one.ask(number) for number in (1, 2, 3)] == ["fwd=miss"] * 3
        finally:
            redis.thaw()
        assert one.count("errors_total", reason="timeout") >= 2
        await until_hit(one)
        # No answer was taken for another's.
        for number in range(10):
            await one.ask(number)


async def test_a_redis_that_is_killed_and_started_again(redis: RedisProcess) -> None:
    async with replica(redis) as one:
        one.store._breaker = Breaker(failures=2, seconds=0.2)
        await one.ask(1)
        redis.kill()
        assert [await one.ask(1) for _ in range(3)] == ["fwd=miss"] * 3
        assert one.count("errors_total", reason="connection") >= 2
        redis.start()
        await until_hit(one)


async def test_a_wrong_password(tmp_path: Path) -> None:
    with RedisProcess(tmp_path, password="right") as redis:
        for password in ("wrong", None):
            async with replica(redis, password=password) as one:
                assert [await one.ask(number % 2) for number in range(10)] == ["fwd=miss"] * 10
                assert one.count("errors_total", reason="authentication") == 5
        async with replica(redis) as one:
            assert [await one.ask(1), await one.ask(1)] == ["fwd=miss", "hit"]


@pytest.mark.parametrize("rubbish", ["garbage", "cut", "flipped", "another's", "huge", "a list"])
async def test_entries_that_are_not_ours_are_ignored(redis: RedisProcess, rubbish: str) -> None:
    async with replica(redis) as one:
        await one.ask(1)
        (mine,) = redis.entries()
        await one.ask(2)
        (others,) = redis.entries().keys() - {mine}
        entry = redis.entries()[mine]
        if rubbish == "a list":
            redis.client.delete(mine)
            redis.client.lpush(mine, "x")
        else:
            redis.client.set(
                mine,
                {
                    "garbage": b"\xff\x00{",
                    "cut": entry[:-1],
                    "flipped": entry[:-1] + bytes([entry[-1] ^ 1]),
                    "another's": redis.entries()[others],
                    "huge": entry + bytes(50_000_000),
                }[rubbish],
            )
        assert await one.ask(1) == "fwd=miss"
        reason = "refused" if rubbish == "a list" else "entry"
        assert one.count("errors_total", reason=reason) == 1
        # What can be replaced is: a key of another type is somebody else's.
        assert await one.ask(1) == ("fwd=miss" if rubbish == "a list" else "hit")


async def test_large_results_are_not_kept_and_hold_nobody_up(redis: RedisProcess) -> None:
    async with replica(redis, max_bytes=20) as one:
        assert [await one.ask(1), await one.ask(1)] == ["fwd=miss"] * 2
        assert redis.client.keys() == []


async def test_a_redis_that_is_full(redis: RedisProcess) -> None:
    redis.client.config_set("maxmemory", 1)
    try:
        async with replica(redis) as one:
            assert [await one.ask(number) for number in range(10)] == ["fwd=miss"] * 10
            assert one.count("errors_total", reason="refused") >= 5
    finally:
        redis.client.config_set("maxmemory", 0)


def test_keys_differ_in_all_that_matters() -> None:
    rows = [[1, 2], [1], [2], [], [258]]
    identities = [SOMEBODY, replace(SOMEBODY, release="2"), replace(SOMEBODY, revision="s")]
    identities.append(replace(SOMEBODY, precision="bfloat16 cuda"))
    found = [
        key
        for identity in identities
        for tenant in ("", "a", "b")
        for parameters in ({}, {"max_tokens": 1}, {"stops": ["a"]})
        for key in keys(identity, tenant, parameters, rows)
    ]
    assert len(set(found)) == len(found) == 4 * 3 * 3 * 5
    assert keys(SOMEBODY, "a", {"x": 1, "y": 2}, rows) == keys(SOMEBODY, "a", {"y": 2, "x": 1}, rows)


def test_a_seal_holds_for_its_key_only() -> None:
    one, other = keys(SOMEBODY, "", {}, [[1], [2]])
    assert unseal(one, seal(one, b"x")) == b"x"
    assert unseal(one, seal(one, b"")) == b""
    assert unseal(other, seal(one, b"x")) is None
    assert unseal(one, b"") is None


def test_lifetimes_spread() -> None:
    assert [lifetime_milliseconds(100, random) for random in (0, 0.5, 1)] == [90_000, 100_000, 110_000]
    assert lifetime_milliseconds(0.0001, 0) == 1


def test_the_breaker() -> None:
    breaker = Breaker(failures=2, seconds=5)
    breaker.failed(0)
    breaker.succeeded()
    breaker.failed(0)
    assert breaker.allows(0) and not breaker.open
    breaker.failed(1)
    assert breaker.open and not breaker.allows(5.9)
    assert breaker.allows(6) and not breaker.allows(6.1), "one try only"
    assert breaker.allows(11)
    breaker.succeeded()
    assert breaker.allows(11.1) and not breaker.open


def folder(path: Path, weights: float, config: dict[str, int]) -> Path:
    """A model of one number."""
    path.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    content = len(header).to_bytes(8, "little") + header + struct.pack("<f", weights)
    (path / "model.safetensors").write_bytes(content)
    (path / "config.json").write_text(json.dumps(config))
    (path / "README.md").write_text(str(path))
    return path


def test_our_own_source_is_part_of_the_identity() -> None:
    assert release() == release() != content_of(Path("/nonexistent"))


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    one = content_of(folder(tmp_path / "a", 1, {"n": 1}))
    assert content_of(folder(tmp_path / "b", 1, {"n": 1})) == one
    # Another fine-tune: names, sizes and headers are the same.
    assert content_of(folder(tmp_path / "c", 2, {"n": 1})) != one
    assert content_of(folder(tmp_path / "d", 1, {"n": 2})) != one
    (tmp_path / "b" / "config.json").rename(tmp_path / "b" / "other.json")
    assert content_of(tmp_path / "b") != one
