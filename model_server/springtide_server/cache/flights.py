"""Results by key: from Redis, from an equal request that is being answered, or computed once for all who ask."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from springtide_server.cache.metrics import CacheMetrics
from springtide_server.cache.store import Store
from springtide_server.engine.work import Terms

Compute = Callable[[list[bytes]], Awaitable[list[bytes]]]
Left = Callable[[], Coroutine[Any, Any, None]]
POLL_SECONDS = (0.005, 0.1)  # the first and the longest pause between two looks at what another replica computes
MAX_TASKS = 256


async def _first(result: "asyncio.Future[bytes | None]", left: Left, deadline: float | None) -> None:
    """Wait for the result, the deadline or the client's leaving, which raises its error."""
    leaving = asyncio.ensure_future(left())
    try:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        both: list[asyncio.Future[Any]] = [result, leaving]
        await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if leaving.done():
            leaving.result()
    finally:
        leaving.cancel()


class _Flight:
    """A result on its way. `rank` is that of the request that computes it; better ones don't wait for it."""

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.result: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def land(self, result: bytes | None) -> None:
        """None: whoever waits has to compute it."""
        if not self.result.done():
            self.result.set_result(result)


@dataclass
class Report:
    """Where the results of a request came from, in rows."""

    hits: int = 0
    shared: int = 0
    """Computed for another request of this process or of another one."""
    computed: int = 0

    @property
    def status(self) -> str:
        """For the header Cache-Status (RFC 9211)."""
        if not self.computed and not self.shared:
            return "hit"
        if not self.computed:
            return "fwd=miss; collapsed"
        rows = self.hits + self.shared + self.computed
        return f'fwd=partial; detail="{rows - self.computed} of {rows} rows"' if rows > self.computed else "fwd=miss"


class Flights:
    """Single flight by key, within the process by futures, across processes by locks in Redis."""

    def __init__(self, store: Store, metrics: CacheMetrics, wait: float) -> None:
        """`wait` is how long another process's computation is waited for at most, in seconds."""
        self._store, self._metrics, self._wait = store, metrics, wait
        self._flights: dict[bytes, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def results(
        self, keys: Sequence[bytes], terms: Terms, compute: Compute, left: Left
    ) -> tuple[list[bytes], Report]:
        """A result for each key; `compute` makes those for the keys that it is given, and may raise.

        `left` ends with an error when the client has left; nobody waits for others after that.
        """
        found: dict[bytes, bytes] = {}
        report = Report()
        while missing := [key for key in dict.fromkeys(keys) if key not in found]:
            late = terms.deadline is not None and time.monotonic() >= terms.deadline
            others = {} if late else {key: self._flights[key] for key in missing if self._may_join(key, terms)}
            if own := [key for key in missing if key not in others]:
                found.update(await self._lead(own, terms, compute, report))
            for key, flight in others.items():
                await _first(flight.result, left, terms.deadline)
                if flight.result.done() and (result := flight.result.result()) is not None:
                    found[key] = result
                    report.shared += 1
        self._metrics.rows.labels("hit").inc(report.hits)
        self._metrics.rows.labels("shared").inc(report.shared)
        self._metrics.rows.labels("miss").inc(report.computed)
        return [found[key] for key in keys], report

    def _may_join(self, key: bytes, terms: Terms) -> bool:
        flight = self._flights.get(key)
        return flight is not None and flight.rank <= terms.rank

    async def _lead(self, keys: list[bytes], terms: Terms, compute: Compute, report: Report) -> dict[bytes, bytes]:
        """Answer for these keys, to others too."""
        flights = {key: _Flight(terms.rank) for key in keys}
        self._flights.update(flights)
        fresh: dict[bytes, bytes] = {}
        locked: set[bytes] = set()
        answered = False

        async def make(some: list[bytes]) -> None:
            made = dict(zip(some, await compute(some), strict=True)) if some else {}
            report.computed += len(some)
            fresh.update(made)
            self._land(flights, made)

        try:
            found, answered = await self._store.get(keys)
            report.hits += len(found)
            self._land(flights, found)
            absent = [key for key in keys if key not in found]
            if not answered:  # and the request has waited for that long enough
                await make(absent)
            elif absent:
                locked = await self._store.lock(absent, self._wait)
                await make([key for key in absent if key in locked])
                elsewhere = await self._from_elsewhere([key for key in absent if key not in locked], terms)
                report.shared += len(elsewhere)
                self._land(flights, elsewhere)
                found |= elsewhere
                await make([key for key in absent if key not in found and key not in fresh])
            return found | fresh
        finally:
            self._drop({key: flight for key, flight in flights.items() if not flight.result.done()})
            if len(self._tasks) < MAX_TASKS:
                # Not awaited: the client needn't wait for it.
                task = asyncio.get_running_loop().create_task(self._leave(flights, fresh if answered else {}, locked))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self._drop(flights)

    @staticmethod
    def _land(flights: dict[bytes, _Flight], results: dict[bytes, bytes]) -> None:
        for key, result in results.items():
            flights[key].land(result)

    async def _from_elsewhere(self, keys: list[bytes], terms: Terms) -> dict[bytes, bytes]:
        """What other processes are computing, as far as they are done in time."""
        found: dict[bytes, bytes] = {}
        end = min(time.monotonic() + self._wait, terms.deadline or float("inf"))
        pause, longest = POLL_SECONDS
        while keys and time.monotonic() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
            more, held = await self._store.look(keys)
            found |= more
            keys = [key for key in keys if key not in found and key in held]
        return found

    async def _leave(self, flights: dict[bytes, _Flight], fresh: dict[bytes, bytes], locked: set[bytes]) -> None:
        """Keep what was computed; only then is the flight over, so that nobody looks in between and finds nothing."""
        try:
            await self._store.put(fresh)
            await self._store.unlock(list(locked))
        finally:
            self._drop(flights)

    def _drop(self, flights: dict[bytes, _Flight]) -> None:
        """Nobody may join these any more; who waits in vain computes."""
        for key, flight in flights.items():
            flight.land(None)
            if self._flights.get(key) is flight:
                del self._flights[key]
