"""A work queue of keys with the semantics of client-go's: one worker per key, no duplicates, backoff, delayed adds."""

import asyncio
import math
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Observer(Protocol):
    """Told what happens in a queue, at the moments at which client-go's queue is measured."""

    def added(self) -> None:
        """Hear that a key was added which did not wait yet."""

    def taken(self, waited: float) -> None:
        """Hear that a worker took a key, and for how many seconds that had waited."""

    def finished(self, worked: float) -> None:
        """Hear that a worker gave a key back, and for how many seconds it had that."""

    def retried(self) -> None:
        """Hear that a key that failed is to come again."""


class WorkQueue(Generic[Key]):
    """Keys that wait for work.

    A key that is added while it waits is there once; one that is added while a worker has it comes again when that
    worker is done, so no key is ever worked on twice at a time and no addition is lost.
    """

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer
        self._waiting: asyncio.Queue[Key] = asyncio.Queue()
        # Each key that is to be worked on, and since when.
        self._dirty: dict[Key, float] = {}
        self._started: dict[Key, float] = {}
        self._delayed: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return self._waiting.qsize()

    def add(self, key: Key) -> None:
        """Ask for work on the key, once, as soon as a worker is free."""
        if key in self._dirty:
            return
        self._dirty[key] = asyncio.get_running_loop().time()
        if self._observer:
            self._observer.added()
        if key not in self._started:
            self._waiting.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for work on the key later; of several such wishes the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        earlier = self._delayed.get(key)
        if earlier is not None:
            if earlier.when() <= loop.time() + seconds:
                return
            earlier.cancel()
        self._delayed[key] = loop.call_later(seconds, self._due, key)

    def retry(self, key: Key, *, base: float, cap: float, at_least: float = 0.0) -> float:
        """Ask for work on a key that failed, after a delay that doubles with each failure; return the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # Beyond 2**32 any cap is reached; the bound keeps the power from overflowing.
        delay = max(min(base * math.pow(2, min(failures, 32)), cap), at_least)
        if self._observer:
            self._observer.retried()
        self.add_after(key, delay)
        return delay

    def waits(self, key: Key) -> bool:
        """Tell whether the key is to come again later."""
        return key in self._delayed

    def forget(self, key: Key) -> None:
        """Count the failures of the key from zero again."""
        self._failures.pop(key, None)

    async def get(self) -> Key:
        """Wait for a key and take it; `done` gives it back."""
        key = await self._waiting.get()
        now = asyncio.get_running_loop().time()
        added = self._dirty.pop(key)
        self._started[key] = now
        if self._observer:
            self._observer.taken(now - added)
        return key

    def done(self, key: Key) -> None:
        """Give a key back that `get` took."""
        started = self._started.pop(key, None)
        if self._observer and started is not None:
            self._observer.finished(asyncio.get_running_loop().time() - started)
        if key in self._dirty:
            self._waiting.put_nowait(key)

    def longest_work(self) -> float:
        """Return for how many seconds the slowest worker has had its key."""
        if not self._started:
            return 0.0
        return asyncio.get_running_loop().time() - min(self._started.values())

    def unfinished_work(self) -> float:
        """Return for how many seconds all workers together have had their keys."""
        now = asyncio.get_running_loop().time() if self._started else 0.0
        return sum(now - started for started in self._started.values())

    def _due(self, key: Key) -> None:
        self._delayed.pop(key, None)
        self.add(key)
