"""Connections to the targets: kept or fresh, never more than so many."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from collections import deque
from collections.abc import Callable

from hack.load.exchange import ABANDONED, CONNECT, DROPPED, LOST, TIMEOUT, UNFINISHED, Exchange
from hack.load.targets import Target

MAX_WAITING = 20_000


class _Connection(asyncio.Protocol):
    """One connection, with one request on it at a time."""

    def __init__(self, pool: Pool, target: int) -> None:
        self.pool, self.target = pool, target
        self.transport: asyncio.Transport | None = None
        self.exchange: Exchange | None = None
        self.used = self.ended = False
        self.counted = True

    @property
    def usable(self) -> bool:
        """Whether a request may be sent: nobody has closed it."""
        return self.transport is not None and not self.ended and not self.transport.is_closing()

    @property
    def sending(self) -> bool:
        """Whether a part of the request is still to be sent."""
        return self.transport is not None and self.transport.get_write_buffer_size() > 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport

    def begin(self, exchange: Exchange) -> None:
        self.exchange = exchange
        exchange.sent = True
        assert self.transport is not None  # noqa: S101
        self.transport.write(exchange.wire)

    def data_received(self, data: bytes) -> None:
        exchange = self.exchange
        if exchange is None:
            self.close()  # bytes that nobody asked for
            return
        exchange.feed(data, time.monotonic())
        if exchange.outcome:
            self.pool.finish(exchange)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        exchange = self.exchange
        if exchange is not None:
            reason = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
            how = "a kept connection" if self.used else "a fresh connection"
            exchange.cut(time.monotonic(), f"{reason or 'closed'} on {how}")
            self.pool.finish(exchange)
        if self.counted:
            self.pool.freed()

    def close(self) -> None:
        self.ended = True
        if self.transport is not None:
            self.transport.abort()


class Pool:
    """Sends requests. `done` is called with each one that has its outcome."""

    def __init__(
        self,
        targets: list[Target],
        limit: int,
        keep: bool,
        timeout: float,
        done: Callable[[Exchange], None],
        trust: ssl.SSLContext | None,
    ) -> None:
        self._targets, self._limit, self._keep = targets, limit, keep
        self._timeout, self._done, self._trust = timeout, done, trust
        self._loop = asyncio.get_running_loop()
        self._idle: list[list[_Connection]] = [[] for _ in targets]
        self._waiting: deque[Exchange] = deque()
        self._active: dict[Exchange, _Connection | None] = {}
        self._open = 0
        self.opened = self.peak = self.waits = 0

    @property
    def in_flight(self) -> int:
        """How many requests have no outcome yet."""
        return len(self._active)

    def send(self, exchange: Exchange, abandon_after: float | None) -> None:
        """Send a request, at once where a connection is free or may be opened."""
        if abandon_after is not None and abandon_after < self._timeout:
            exchange.expiry = self._loop.call_later(abandon_after, self._stop, exchange, ABANDONED)
        else:
            exchange.expiry = self._loop.call_later(self._timeout, self._stop, exchange, TIMEOUT)
        self._active[exchange] = None
        if not self._start(exchange):
            self.waits += 1
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(exchange)
            else:
                self._stop(exchange, DROPPED)

    def end(self) -> None:
        """Give up what is in flight and close everything."""
        self._waiting.clear()
        for exchange in list(self._active):
            self._stop(exchange, UNFINISHED)
        for idle in self._idle:
            for connection in idle:
                connection.close()

    def finish(self, exchange: Exchange) -> None:
        """Take leave of a request that has its outcome; its connection takes the next."""
        connection = self._active.pop(exchange)
        if exchange.expiry is not None:
            exchange.expiry.cancel()
        if connection is not None:
            connection.exchange = None
            connection.used = True
            if not exchange.reader.complete or not exchange.reader.keep or not self._keep or connection.sending:
                connection.close()
            elif connection.usable:
                self._idle[connection.target].append(connection)
        self._done(exchange)
        if self._waiting:
            self._next()

    def freed(self) -> None:
        """Count a connection out; the next may be opened."""
        self._open -= 1
        if self._waiting:
            self._next()

    def _next(self) -> None:
        while self._waiting and (self._waiting[0].outcome or self._start(self._waiting[0])):
            self._waiting.popleft()

    def _start(self, exchange: Exchange) -> bool:
        idle = self._idle[exchange.target]
        while idle:
            connection = idle.pop()
            if connection.usable:
                self._active[exchange] = connection
                connection.begin(exchange)
                return True
        if self._open >= self._limit:
            self._close_spare()
            return False
        self._open += 1
        self.peak = max(self.peak, self._open)
        exchange.opening = self._loop.create_task(self._connect(exchange))
        return True

    def _close_spare(self) -> None:
        """Close a connection that is kept for another target: once it is gone, there is room."""
        for idle in self._idle:
            while idle:
                connection = idle.pop()
                if connection.usable:
                    connection.close()
                    return

    async def _connect(self, exchange: Exchange) -> None:
        target = self._targets[exchange.target]
        trust = self._trust if target.secure else None
        made: list[_Connection] = []

        def make() -> _Connection:
            made.append(_Connection(self, exchange.target))
            return made[0]

        try:
            name = target.host if trust else None
            await self._loop.create_connection(make, target.address, target.port, ssl=trust, server_hostname=name)
        except OSError as error:
            if isinstance(error, ssl.SSLError):
                reason = error.reason or "TLS"
            else:
                reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
            exchange.end(CONNECT, time.monotonic(), reason)
        finally:
            exchange.opening = None
            connection = made[0] if made else None
            if connection is None or connection.transport is None:
                if connection is not None:
                    connection.counted = False  # asyncio may yet make and lose it
                self.freed()
        if connection is not None and connection.transport is not None:
            self.opened += 1
            if not exchange.outcome and not connection.usable:
                exchange.end(LOST, time.monotonic(), "closed on a fresh connection")
            if exchange.outcome:
                connection.close()
            else:
                self._active[exchange] = connection
                connection.begin(exchange)
        if exchange.outcome and exchange in self._active:
            self.finish(exchange)

    def _stop(self, exchange: Exchange, outcome: str) -> None:
        exchange.end(outcome, time.monotonic())
        if exchange.opening is not None:
            exchange.opening.cancel()
        self.finish(exchange)
