"""Entries and locks in Redis. Each call has a deadline, and one that fails says so and raises nothing."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from springtide_server.cache.breaker import Breaker
from springtide_server.cache.keys import SEAL_BYTES, lifetime_milliseconds, seal, unseal
from springtide_server.cache.metrics import CacheMetrics
from springtide_server.cache.options import StoreSettings

CONNECTIONS = 16
KEYS_PER_CALL = 32  # so that a large request keeps the deadline too
log = logging.getLogger(__name__)


class Store:
    """One Redis, which may be away at any time."""

    def __init__(self, settings: StoreSettings, metrics: CacheMetrics) -> None:
        """Raises ValueError when the URL is none of Redis; connects later."""
        self._settings, self._metrics = settings, metrics
        self._breaker = Breaker()
        given = {} if settings.password is None else {"password": settings.password}
        pool = BlockingConnectionPool.from_url(
            settings.url,
            max_connections=CONNECTIONS,
            timeout=settings.deadline,
            socket_timeout=settings.deadline,
            socket_connect_timeout=settings.deadline,
            retry=Retry(NoBackoff(), 0),
            protocol=2,  # one round trip less for a new connection
            driver_info=None,  # and two less
            **given,
        )
        self._redis = Redis(connection_pool=pool)
        metrics.available.set_function(lambda: not self._breaker.open)

    async def get(self, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], bool]:
        """The results that are there and whole, by key; and whether Redis answered to the end."""
        found, held = await self._look(keys, with_locks=False)
        return found, held is not None

    async def look(self, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], set[bytes]]:
        """The results that are there, and the keys that somebody holds the lock of."""
        found, held = await self._look(keys, with_locks=True)
        return found, held or set()

    async def _look(self, keys: Sequence[bytes], with_locks: bool) -> tuple[dict[bytes, bytes], set[bytes] | None]:
        """As `look`; the second is None when Redis did not answer to the end."""
        found: dict[bytes, bytes] = {}
        held: set[bytes] = set()
        # A range, so that an entry of any size that somebody else wrote costs no more than one of ours.
        last = SEAL_BYTES + self._settings.max_bytes
        for part in _parts(keys):

            def add(pipe: Pipeline, part: Sequence[bytes] = part) -> None:
                # The lock first: its holder writes the entry before it gives the lock back.
                for key in part if with_locks else ():
                    pipe.exists(_lock(key))
                for key in part:
                    pipe.getrange(_entry(key), 0, last)

            if (replies := await self._call(add)) is None:
                return found, None
            if with_locks:
                held.update(key for key, exists in zip(part, replies, strict=False) if exists)
            for key, entry in zip(part, replies[-len(part) :], strict=True):
                if not entry:
                    continue
                if (payload := unseal(key, entry)) is None:
                    self._metrics.errors.labels("entry").inc()
                else:
                    found[key] = payload
        return found, held

    async def lock(self, keys: Sequence[bytes], seconds: float) -> set[bytes]:
        """Take the locks; those that somebody else holds are left out. All are ours when Redis doesn't answer."""
        ours: set[bytes] = set(keys)
        for part in _parts(keys):

            def add(pipe: Pipeline, part: Sequence[bytes] = part) -> None:
                for key in part:
                    pipe.set(_lock(key), b"1", nx=True, px=round(1000 * seconds))

            if (replies := await self._call(add)) is None:
                break
            ours.difference_update(key for key, taken in zip(part, replies, strict=True) if not taken)
        return ours

    async def unlock(self, keys: Sequence[bytes]) -> None:
        """Give up without a result. If the lock was lost meanwhile, its new holder's: then one more computes."""
        if keys:
            await self._call(lambda pipe: pipe.delete(*map(_lock, keys)))

    async def put(self, results: dict[bytes, bytes]) -> None:
        """Keep the results that aren't too large."""
        small = [key for key, payload in results.items() if len(payload) <= self._settings.max_bytes]
        for part in _parts(small):

            def add(pipe: Pipeline, part: Sequence[bytes] = part) -> None:
                for key in part:
                    milliseconds = lifetime_milliseconds(self._settings.lifetime, random.random())  # noqa: S311
                    pipe.set(_entry(key), seal(key, results[key]), px=milliseconds)

            if await self._call(add) is None:
                return
            for key in part:
                self._metrics.entry_bytes.observe(len(results[key]))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _call(self, add: Callable[[Pipeline], Any]) -> list[Any] | None:
        """The replies to the commands that `add` puts into the pipeline, or None."""
        if not self._breaker.allows(time.monotonic()):
            return None
        was_open = self._breaker.open
        try:
            async with asyncio.timeout(self._settings.deadline), self._redis.pipeline(transaction=False) as pipe:
                add(pipe)
                replies: list[Any] = await pipe.execute()
        except (RedisError, OSError, TimeoutError) as error:
            reason = _reason(error)
            self._metrics.errors.labels(reason).inc()
            self._breaker.failed(time.monotonic())
            if self._breaker.open and not was_open:
                # Not the error itself: a URL in it may have a password.
                log.warning(
                    "the result cache fails and is left alone for a while", extra={"fields": {"reason": reason}}
                )
            return None
        self._breaker.succeeded()
        if was_open:
            log.info("the result cache answers again")
        return replies


def _reason(error: Exception) -> str:
    if isinstance(error, (TimeoutError, RedisTimeoutError)):
        return "timeout"
    if isinstance(error, AuthenticationError) or "NOAUTH" in str(error):
        return "authentication"
    return "refused" if isinstance(error, ResponseError) else "connection"


def _parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(keys), KEYS_PER_CALL):
        yield keys[start : start + KEYS_PER_CALL]


def _entry(key: bytes) -> str:
    return f"springtide:{key.hex()}"


def _lock(key: bytes) -> str:
    return f"springtide:{key.hex()}:lock"
