"""When to run which rows together. Decides from values alone: no torch, no clock, no threads.

Let w be the expected time until the next request, n the rows that wait, a what one more row adds to the batch and b
what each batch costs whatever its size. Waiting delays n rows by w + a each, and saves the next row b - w: without it
the row would wait for this batch, and then for one of its own. So wait only if b - w > n·(w + a), and within bounds.

A batch delays the first of its rows until the last is done, and all who come meanwhile. So it takes no more rows once b
is a small part of it, nor longer than a part of the time that its rows have; rows that would be late anyway come last.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

from springtide_server.engine.cost import SECONDS_PER_BATCH, Costs, bucket
from springtide_server.engine.queue import E, PriorityQueue, Row

WASTE = 1.25  # times the real tokens may be padded; more only where it costs less than a batch of its own
EFFICIENT = 0.95  # part of a batch's time that goes into its rows: with more of them little is gained
LATE = 1.25  # on predicted seconds where a deadline is at stake
PATIENCE = 1 / 3  # of the time from a request to its deadline: then one that comes just too late has its turn as well
RATE_SECONDS = 1.0  # over which the rate of arrivals is averaged
RECOVERY = 1.02  # growth of the cap with each batch that shows that it is too low


@dataclass(frozen=True)
class Limits:
    """Upper bounds of a batch: rows, tokens with padding, and the seconds that its first row may be kept waiting."""

    rows: int
    tokens: int
    delay: float


@dataclass(frozen=True)
class Run(Generic[E]):
    """Compute these rows now."""

    rows: list[Row[E]]


@dataclass(frozen=True)
class Wait:
    """Do nothing before this time, or before the next request comes."""

    until: float


class Arrivals:
    """How often requests come: an average that fades."""

    def __init__(self) -> None:
        self._rate, self._last = 0.0, -math.inf

    def observe(self, now: float) -> None:
        """One came."""
        self._rate, self._last = self._faded(now) + 1 / RATE_SECONDS, now

    def gap(self, now: float) -> float:
        """Seconds until the next, expected. The longer none has come, the longer."""
        rate = self._faded(now)
        return max(1 / rate, now - self._last) if rate > 0 else math.inf

    def _faded(self, now: float) -> float:
        return self._rate * math.exp(-max(0.0, now - self._last) / RATE_SECONDS)


class Facts(NamedTuple):
    """Of a length, looked up once, since hundreds of rows are tried."""

    cap: float
    """Most padded tokens."""
    enough: float
    """Padded tokens that make a batch efficient."""
    token_seconds: float
    overhead: float

    def seconds(self, tokens: int) -> float:
        """Of a batch of so many padded tokens."""
        return self.overhead + self.token_seconds * tokens


class Batch(Generic[E]):
    """A batch being put together: the rows that fit."""

    def __init__(self, limit: int, costs: Costs, available: float, packs: bool, now: float, waiting: int) -> None:
        """`waiting` are the tokens in the queue."""
        self._limit, self._costs, self._available, self._packs = limit, costs, available, packs
        self._now, self._waiting = now, waiting
        self.rows, self.longest, self.tokens = 0, 0, 0
        self.late = False
        """Whether a row was left out because its answer would come after its deadline."""
        self._padded = 0
        self._only: E | None = None  # whose rows all of these are
        self._seconds = math.inf  # that it may take
        self._facts: dict[int, Facts] = {}

    def fits(self, row: Row[E], must: bool) -> bool:
        """Whether the row joins. The first does, however long it is, unless it would be late."""
        rows, longest = self.rows + 1, max(self.longest, row.length)
        tokens = self.tokens + row.length
        padded = tokens if self._packs else rows * longest
        facts = self._facts_of(longest)
        allowed = self._seconds
        if row.entry.deadline is not None:
            left = (row.entry.deadline - self._now) / LATE
            patience = PATIENCE * (row.entry.deadline - row.entry.arrival)
            # Where not all who wait can be in time, one in a hurry would only make the batch small for the others.
            crowded = facts.token_seconds * self._waiting > left
            if left < (patience if crowded else facts.seconds(row.length)):
                self.late = True
                return False
            allowed = min(allowed, left, patience)
        if self.rows:
            if padded > facts.cap or facts.seconds(padded) > allowed:
                return False
            # Rows of one request are answered together: among them nobody is delayed.
            if self._padded >= facts.enough and row.entry is not self._only:
                return False
            if not must and padded > WASTE * tokens and (padded - tokens) * facts.token_seconds > facts.overhead:
                return False
        self._only = row.entry if not self.rows or row.entry is self._only else None
        self.rows, self.longest, self.tokens = rows, longest, tokens
        self._padded, self._seconds = padded, allowed
        return True

    def _facts_of(self, longest: int) -> Facts:
        size = bucket(longest)
        if size not in self._facts:
            slope, base = self._costs.token_seconds(size), self._costs.overhead(size)
            cap = min(float(self._limit), self._costs.tokens_within(self._available, size))
            # Never less than what a batch costs outside of the model.
            enough = EFFICIENT / (1 - EFFICIENT) * max(base, SECONDS_PER_BATCH) / slope if slope > 0 else math.inf
            self._facts[size] = Facts(cap, enough, slope, base)
        return self._facts[size]


class Policy:
    """Decides, and learns from what came of it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.costs = Costs()
        self.arrivals = Arrivals()
        self.packs = False
        """Whether the model computes nothing for padding."""
        self.token_limit = float(limits.tokens)
        """At present: less than the setting after memory ran out."""

    def computed(self, lengths: Sequence[int]) -> int:
        """Tokens that are computed for rows of these lengths."""
        return sum(lengths) if self.packs else len(lengths) * max(lengths)

    def decide(self, queue: PriorityQueue[E], now: float, available: float) -> Run[E] | Wait | None:
        """What to do while the model is free; None when nothing waits. `available` is in bytes."""
        batch: Batch[E] = Batch(int(self.token_limit), self.costs, available, self.packs, now, queue.tokens())
        rows = queue.pick(self.limits.rows, batch.fits)
        if not rows and batch.late:  # a prediction may be wrong, and is mended by nothing but a try
            rows = queue.pick(1, lambda row, must: True)
        if not rows:
            return None
        full = len(rows) == self.limits.rows or len(rows) < queue.rows
        until = None if full else self._worth_waiting(rows, batch, now)
        return Run(rows) if until is None else Wait(until)

    def _worth_waiting(self, rows: list[Row[E]], batch: Batch[E], now: float) -> float | None:
        """Until when, or None."""
        gap = self.arrivals.gap(now)
        until = now + gap
        if until > min(row.entry.arrival for row in rows) + self.limits.delay:
            return None
        added = self.costs.token_seconds(batch.longest) * batch.longest
        if self.costs.overhead(batch.longest) - gap <= batch.rows * (gap + added):
            return None
        lengths = [row.length for row in rows]
        done = until + self.costs.seconds(self.computed([*lengths, batch.longest]), batch.longest)
        deadlines = [row.entry.deadline for row in rows if row.entry.deadline is not None]
        return until if done <= min(deadlines, default=math.inf) else None

    def ran(self, tokens: int, longest: int, seconds: float, peak_bytes: int | None) -> None:
        """A batch of so many computed tokens went well."""
        self.costs.observe(tokens, longest, seconds, peak_bytes)
        if 2 * tokens >= self.token_limit:
            self.token_limit = min(float(self.limits.tokens), self.token_limit * RECOVERY)

    def ran_out_of_memory(self, tokens: int) -> None:
        """A batch of so many computed tokens was too much: half of it is allowed from now on."""
        self.token_limit = max(1.0, min(self.token_limit, tokens / 2))
