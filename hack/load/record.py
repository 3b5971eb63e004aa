"""What is counted while a run goes on, in bounded memory. Records of several processes add up to one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

from hack.load.exchange import ABANDONED, OK, STREAM, Exchange
from hack.load.histogram import Histogram
from hack.load.options import Options

MAX_DETAILS = 50


@dataclass
class Tally:
    """One group of requests: all of them, a class of the header mix, or a step."""

    scheduled: int = 0
    sent: int = 0
    ok: int = 0
    failed: int = 0
    shed: int = 0
    abandoned: int = 0
    good: int = 0
    answers: Histogram = field(default_factory=Histogram)
    failures: Histogram = field(default_factory=Histogram)
    first: Histogram = field(default_factory=Histogram)


@dataclass
class Second:
    """The requests that were due in one second, and the good answers that came in it."""

    scheduled: int = 0
    ok: int = 0
    failed: int = 0
    shed: int = 0
    completed: int = 0
    answers: Histogram = field(default_factory=Histogram)


@dataclass
class Sender:
    """What one process of the generator did itself."""

    cpu_seconds: float = 0
    wall_seconds: float = 0
    window_seconds: float = 0
    """from the start until nothing more was to be sent"""
    opened: int = 0
    peak: int = 0
    waits: int = 0


@dataclass
class Record:
    """A run, or one process' part of it."""

    planned: int = 0
    ok_in_window: int = 0
    """good answers that came before the sending ended"""
    total: Tally = field(default_factory=Tally)
    values: dict[str, Tally] = field(default_factory=dict)
    steps: dict[int, Tally] = field(default_factory=dict)
    seconds: dict[int, Second] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    gaps: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    retry_after: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    streams: int = 0
    events: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    """{why the sending ended: processes}"""
    senders: list[Sender] = field(default_factory=list)

    def merge(self, other: Record) -> None:
        """Add another process' part."""
        _add(self, other)
        _bound(self.details)
        _bound(self.retry_after)


class Recorder:
    """Fills a record. Times are of the monotonic clock; `start` is the run's zero."""

    def __init__(self, start: float, steps: list[float], options: Options) -> None:
        self.record = Record()
        self.start = start
        self.window_is_over = False
        self._ends = steps if len(steps) > 1 else []
        self._slo, self._slo_first = options.slo_milliseconds, options.slo_first_token_milliseconds
        self._by_second = options.timeline is not None

    def scheduled(self, intended: float, value: str) -> None:
        """Count a request that is due."""
        for tally in self._groups(intended, value):
            tally.scheduled += 1
        if self._by_second:
            self._second(intended).scheduled += 1

    def _groups(self, intended: float, value: str) -> list[Tally]:
        """The groups to which a request of that time and class belongs."""
        record = self.record
        found = [record.total]
        if value:
            found.append(record.values.setdefault(value, Tally()))
        if self._ends:
            second = intended - self.start
            step = next((number for number, end in enumerate(self._ends) if second < end), len(self._ends) - 1)
            found.append(record.steps.setdefault(step, Tally()))
        return found

    def _second(self, time: float) -> Second:
        return self.record.seconds.setdefault(int(time - self.start), Second())

    def sent(self, lateness: float) -> None:
        """Count by how much a request was sent late."""
        self.record.lateness.record(lateness)

    def finished(self, exchange: Exchange) -> bool:
        """Count a request that has its outcome; return whether it failed."""
        record, outcome = self.record, exchange.outcome
        record.outcomes[outcome] += 1
        reader, latency = exchange.reader, exchange.finished - exchange.intended
        if reader.status >= 200:
            record.statuses[str(reader.status)] += 1
        if exchange.detail:
            record.details[_room(record.details, f"{outcome}: {exchange.detail}")] += 1
        if b"retry-after" in reader.headers:
            seconds = reader.headers[b"retry-after"].decode("latin-1")
            record.retry_after[_room(record.retry_after, seconds)] += 1
        ok, failed = outcome == OK, outcome not in {OK, ABANDONED}
        first = exchange.first_piece - exchange.intended if exchange.first_piece else None
        good = ok and _within(latency, self._slo) and (first is None or _within(first, self._slo_first))
        for tally in self._groups(exchange.intended, exchange.value):
            tally.sent += exchange.sent
            tally.ok += ok
            tally.failed += failed
            tally.shed += reader.status == 429
            tally.abandoned += outcome == ABANDONED
            tally.good += good
            if ok:
                tally.answers.record(latency)
            elif failed:
                tally.failures.record(latency)
            if first is not None:
                tally.first.record(first)
        self._traffic(exchange)
        record.ok_in_window += ok and not self.window_is_over
        if self._by_second:
            second = self._second(exchange.intended)
            second.ok, second.failed = second.ok + ok, second.failed + failed
            second.shed += reader.status == 429
            if ok:
                second.answers.record(latency)
                self._second(exchange.finished).completed += 1
        return failed

    def _traffic(self, exchange: Exchange) -> None:
        record = self.record
        record.bytes_sent += len(exchange.wire) if exchange.sent else 0
        record.bytes_received += exchange.received
        for gap in exchange.gaps:
            record.gaps.record(gap)
        pieces = 0
        if exchange.events is not None:
            pieces = exchange.events.pieces
            record.streams += 1
            record.events += pieces
        if exchange.outcome in {OK, STREAM, ABANDONED}:
            counted = exchange.usage.get("completion_tokens")
            if isinstance(counted, int):
                record.tokens["completion"] += counted
            else:
                record.tokens["completion"] += pieces
                record.tokens["completion_counted_as_events"] += pieces
            prompt = exchange.usage.get("prompt_tokens")
            record.tokens["prompt"] += prompt if isinstance(prompt, int) else 0


def _within(seconds: float, slo_milliseconds: float | None) -> bool:
    return slo_milliseconds is None or 1000 * seconds <= slo_milliseconds


def _room(counter: Counter[str], name: str) -> str:
    return name if name in counter or len(counter) < MAX_DETAILS else "other"


def _bound(counter: Counter[str]) -> None:
    for name, count in counter.most_common()[MAX_DETAILS:]:
        if name != "other":
            counter["other"] += count
            del counter[name]


def _add(into: Any, other: Any) -> None:
    """Add up two records or tallies, field by field."""
    for one in fields(into):
        mine, theirs = getattr(into, one.name), getattr(other, one.name)
        if isinstance(mine, Counter):
            mine.update(theirs)
        elif isinstance(mine, Histogram):
            mine.merge(theirs)
        elif isinstance(mine, dict):
            for name, part in theirs.items():
                _add(mine.setdefault(name, type(part)()), part)
        elif isinstance(mine, list):
            mine.extend(theirs)
        elif isinstance(mine, Tally):
            _add(mine, theirs)
        else:
            setattr(into, one.name, mine + theirs)
