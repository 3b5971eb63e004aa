"""A server on a virtual clock: the real queue and policy, or simpler ones, under open-loop Poisson arrivals."""

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from springtide_server.engine.admission import Admission
from springtide_server.engine.batching import Limits, Policy, Run, Wait
from springtide_server.engine.queue import Entry, PriorityQueue, Refused, Row
from springtide_server.priorities import DEFAULTS

Seconds = Callable[[int, int], float]
"""(rows, tokens of the longest) → duration of a batch."""
PLENTY = 1e15


@dataclass
class Load:
    """Requests of one row each. Lengths are drawn evenly from the range; ranks by their shares."""

    rate: float
    seconds: float = 5.0
    lengths: tuple[int, int] = (16, 16)
    shares: tuple[float, ...] = (0.0, 1.0, 0.0)
    timeout: float | None = None
    seed: int = 1


@dataclass
class Outcome:
    """Latencies by rank, and what was not answered."""

    seconds: float
    latencies: dict[int, list[float]] = field(default_factory=lambda: {0: [], 1: [], 2: []})
    offered: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0, 2: 0})
    refused: int = 0
    expired: int = 0
    batches: int = 0
    depth: int = 0
    wasted: float = 0.0

    def goodput(self, slo: float) -> float:
        """Requests a second answered in time."""
        return sum(one <= slo for each in self.latencies.values() for one in each) / self.seconds

    def attainment(self, rank: int, slo: float) -> float:
        """Part of what a class asked for that was answered in time."""
        return sum(one <= slo for one in self.latencies[rank]) / max(1, self.offered[rank])

    def percentile(self, percent: float) -> float:
        """Of all latencies, in seconds; infinite when nothing was answered."""
        ordered = sorted(one for each in self.latencies.values() for one in each)
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else math.inf


class Springtide:
    """Ours, as BatchEngine drives it."""

    def __init__(self, limits: Limits, places: int = 256) -> None:
        self.queue: PriorityQueue[Entry] = PriorityQueue(DEFAULTS, places, 1 << 20)
        self.admission = Admission(self.queue, len(DEFAULTS))
        self.policy = Policy(limits)

    def offer(self, entry: Entry, now: float) -> int:
        """How many requests were turned away for it, itself included."""
        try:
            self.admission.check(entry.rank, entry.tokens, entry.deadline, now)
            evicted = self.queue.add(entry)
        except Refused:
            return 1
        self.policy.arrivals.observe(now)
        return len(evicted)

    def decide(self, now: float) -> Run[Entry] | Wait | None:
        return self.policy.decide(self.queue, now, PLENTY)

    def ran(self, rows: int, longest: int, seconds: float) -> None:
        self.policy.ran(rows * longest, longest, seconds, None)
        self.admission.ends(seconds)


class FixedWait(Springtide):
    """As most servers do: from the first that waits until the batch is full or the wait is over, in order."""

    def decide(self, now: float) -> Run[Entry] | Wait | None:
        rows = self.queue.pick(self.policy.limits.rows, lambda row, must: True)
        if not rows:
            return None
        until = rows[0].entry.arrival + self.policy.limits.delay
        return Wait(until) if len(rows) < self.policy.limits.rows and now < until else Run(rows)


def simulate(server: Springtide, load: Load, seconds: Seconds) -> Outcome:
    """Offer the load for its time, then let the server finish."""
    chance = random.Random(load.seed)  # noqa: S311
    outcome = Outcome(load.seconds)
    arrivals: list[tuple[float, int, Entry]] = []
    now = 0.0
    while (now := now + chance.expovariate(load.rate)) < load.seconds:
        (rank,) = chance.choices(range(len(load.shares)), load.shares)
        deadline = None if load.timeout is None else now + load.timeout
        heapq.heappush(arrivals, (now, len(arrivals), Entry([chance.randint(*load.lengths)], rank, now, deadline)))
    free, running, wake, shape = 0.0, list[Row[Entry]](), math.inf, (0, 0, 0.0)
    now = 0.0
    while arrivals or len(server.queue) or running:
        now = min(arrivals[0][0] if arrivals else math.inf, free if running else wake)
        if arrivals and arrivals[0][0] <= now:
            entry = heapq.heappop(arrivals)[2]
            outcome.offered[entry.rank] += 1
            outcome.refused += server.offer(entry, now)
            outcome.depth = max(outcome.depth, len(server.queue))
        if running and free <= now:
            for row in running:
                outcome.latencies[row.entry.rank].append(now - row.entry.arrival)
            server.ran(*shape)
            running = []
        if running:
            continue
        outcome.expired += len(server.queue.expire(now))
        decision = server.decide(now)
        wake = decision.until if isinstance(decision, Wait) else math.inf
        if isinstance(decision, Run):
            running = decision.rows
            server.queue.take(running)
            longest = max(row.length for row in running)
            server.admission.begins(running, now + server.policy.costs.seconds(len(running) * longest, longest))
            took = seconds(len(running), longest) * chance.uniform(0.95, 1.05)
            shape = len(running), longest, took
            outcome.batches += 1
            outcome.wasted += len(running) * longest - sum(row.length for row in running)
            free = now + took
    return outcome
