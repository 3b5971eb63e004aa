"""One process' part of a run: sends when the schedule says, waits for answers for so long, and counts."""

from __future__ import annotations

import asyncio
import itertools
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hack.load.content import Content, Draw, draws
from hack.load.exchange import CONNECT, DROPPED, LOST, Exchange, Wanted
from hack.load.options import Options
from hack.load.pool import Pool
from hack.load.record import Record, Recorder, Sender
from hack.load.schedule import Schedule, draw
from hack.load.targets import Target, trust
from hack.load.timer import Timer

_BATCH = 32
"""how many overdue requests are sent before answers are read again"""
_PAUSE = 0.05
"""how long a client of the closed loop waits after it got no answer at all"""
_POLL = 0.05


@dataclass(frozen=True)
class Shard:
    """Which part of the run: every `number`-th request, or every `number`-th client of the closed loop."""

    index: int = 0
    number: int = 1

    def share(self, whole: int) -> int:
        """Return this shard's part of something that is split."""
        return whole // self.number + (self.index < whole % self.number)


@dataclass
class Signals:
    """What the outside tells a run, asked many times a second, and what the run tells about failures."""

    stop: Callable[[], bool]  # send no more, wait for answers
    abort: Callable[[], bool]  # and don't wait
    failures: Callable[[int], int]  # adds some, returns how many there are in all processes


class Run:
    """Draws its schedule when made; `drive` sends it."""

    def __init__(self, options: Options, targets: list[Target], shard: Shard) -> None:
        self._options, self._targets, self._shard = options, targets, shard
        self._content = Content(options, targets)
        self._trust = trust(options) if any(target.secure for target in targets) else None
        self._wanted = Wanted(options.kind, options.stream, options.check, options.inputs)
        self._closed = options.concurrency is not None
        self._schedule = Schedule(options.seconds) if self._closed else draw(options)
        self._ended = ""
        self._upcoming: tuple[int, Draw] | None = None

    async def drive(self, start: float, signals: Signals) -> Record:
        """Send from `start` on; return what became of it, at the latest when `seconds` and the grace are over."""
        options = self._options
        self._signals = signals
        self._ended = ""
        self._recorder = Recorder(start, [end for end, _, _ in self._schedule.steps], options)
        self._pool = Pool(
            self._targets,
            self._shard.share(options.max_connections),
            options.connections == "keep",
            options.timeout_seconds,
            self._finished,
            self._trust,
        )
        cpu = time.thread_time()
        over = start + self._schedule.seconds
        timer = None
        if self._closed:
            self._closed_loop(start)
        else:
            timer = self._open_loop(start)
        try:
            while not self._ended and (now := time.monotonic()) < over:
                await asyncio.sleep(min(_POLL, over - now))
                self._heed(signals)
            window = min(time.monotonic(), over) - start
            self._recorder.window_is_over = True
            if self._closed:
                self._ended = self._ended or "schedule"
            deadline = time.monotonic() + options.grace
            while self._is_busy() and not signals.abort() and (now := time.monotonic()) < deadline:
                await asyncio.sleep(min(_POLL / 5, deadline - now))
                self._heed(signals)
            self._give_up(start)
        finally:
            if timer is not None:
                timer.close()
            self._pool.end()
        await asyncio.sleep(0)  # what was closed goes
        record = self._recorder.record
        record.ended[self._ended or "schedule"] += 1
        planned = self._shard.share(len(self._schedule.times))
        record.planned = record.total.scheduled if self._closed else planned
        spent = Sender(time.thread_time() - cpu, time.monotonic() - start, max(window, 1e-3))
        spent.opened, spent.peak, spent.waits = self._pool.opened, self._pool.peak, self._pool.waits
        record.senders.append(spent)
        return record

    def _heed(self, signals: Signals) -> None:
        limit = self._options.until_failures
        if signals.stop():
            self._ended = self._ended or "signal"
        if limit is not None and signals.failures(0) >= limit:
            self._ended = self._ended or "failures"  # also where another process has counted them

    def _is_busy(self) -> bool:
        """Whether answers are awaited, or requests are overdue that are still to be sent."""
        return self._pool.in_flight > 0 or (self._upcoming is not None and not self._ended)

    def _open_loop(self, start: float) -> Timer:
        times = self._schedule.times
        self._requests = self._numbered()
        self._upcoming = next(self._requests, None)

        def fire() -> None:
            for _ in range(_BATCH):
                now = time.monotonic()
                if self._upcoming is None or self._ended:
                    return
                index, drawn = self._upcoming
                intended = start + times[index]
                if intended > now:
                    break
                self._send(index, intended, now, drawn)
                self._upcoming = next(self._requests, None)
            if self._upcoming is not None:
                timer.at(start + times[self._upcoming[0]])

        timer = Timer(fire)
        if self._upcoming is not None:
            timer.at(start + times[self._upcoming[0]])
        return timer

    def _give_up(self, start: float) -> None:
        """Count what this process was too slow to send at all; not where it was told to end early."""
        while self._upcoming is not None and not self._ended:
            index, drawn = self._upcoming
            exchange = Exchange(index, start + self._schedule.times[index], b"", self._wanted, drawn.value, 0)
            exchange.end(DROPPED, time.monotonic())
            self._recorder.scheduled(exchange.intended, drawn.value)
            self._recorder.finished(exchange)
            self._upcoming = next(self._requests, None)

    def _numbered(self) -> Iterator[tuple[int, Draw]]:
        """The requests of this shard. All shards draw for all requests: each is the same for any number of shards."""
        schedule, every = self._schedule, draws(self._options)
        for index in range(len(schedule.times)):
            drawn = next(every)
            if index % self._shard.number == self._shard.index:
                yield index, _measured(drawn, index, schedule.tokens, schedule.max_tokens)

    def _closed_loop(self, start: float) -> None:
        self._draws = draws(self._options, self._shard.index)
        whole = self._options.requests
        self._left = itertools.repeat(0) if whole is None else iter(range(self._shard.share(whole)))
        self._numbers = itertools.count(self._shard.index, self._shard.number)
        loop = asyncio.get_running_loop()
        for _ in range(self._shard.share(self._options.concurrency or 0)):
            loop.call_at(start, self._another)

    def _another(self) -> None:
        if not self._ended:
            if next(self._left, None) is None:
                self._ended = "requests"
                return
            now = time.monotonic()
            self._send(next(self._numbers), now, now, next(self._draws))

    def _send(self, index: int, intended: float, now: float, drawn: Draw) -> None:
        wire = self._content.request(index, drawn)
        target = index % len(self._targets)
        exchange = Exchange(index, intended, wire, self._wanted, drawn.value, target)
        self._recorder.scheduled(intended, drawn.value)
        self._recorder.sent(now - intended)
        self._pool.send(exchange, drawn.abandon_after)

    def _finished(self, exchange: Exchange) -> None:
        limit = self._options.until_failures
        if self._recorder.finished(exchange) and limit is not None and self._signals.failures(1) >= limit:
            self._ended = self._ended or "failures"
        if self._closed:
            pause = _PAUSE if exchange.outcome in {CONNECT, LOST} else 0
            asyncio.get_running_loop().call_later(pause, self._another)


def _measured(drawn: Draw, index: int, tokens: array[int] | None, max_tokens: array[int] | None) -> Draw:
    """The draw, with the lengths that a trace has for this request."""
    if tokens is None or max_tokens is None:
        return drawn
    return Draw((tokens[index],) * len(drawn.lengths), max_tokens[index], drawn.value, drawn.abandon_after)
