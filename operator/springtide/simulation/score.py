"""What a course was worth: the numbers of a simulation, and its timeline."""

from dataclasses import dataclass

import numpy as np

from springtide.simulation import clairvoyant
from springtide.simulation.fluid import quantiles, waits
from springtide.simulation.run import Course, Ints, Scenario
from springtide.simulation.view import STEP

ROW = 10


@dataclass(frozen=True)
class Timeline:
    """Rows of 10 s after the warm-up: replicas as a row begins, the queue as it ends, `t_s` since the trace began."""

    t_s: Ints
    arrivals: Ints
    created: Ints
    ready: Ints
    target: Ints
    queue: Ints
    late: Ints


@dataclass(frozen=True)
class Score:
    """What came of a policy. Times are in seconds, hours are of replicas from creation until they are gone."""

    attainment: float
    gpu_hours: float
    gpu_hours_clairvoyant: float
    ratio: float
    cost: float
    actions: int
    actions_per_day: float
    removed_while_loading: int
    wait_p50_seconds: float
    wait_p99_seconds: float
    peak_replicas: int
    decision_cpu_milliseconds_p99: float
    requests: int
    late: int
    days: float
    clairvoyant_use: float


def reference(scenario: Scenario) -> tuple[float, float]:
    """Return the clairvoyant's hours after the warm-up at the scenario's attainment, and how far it uses replicas."""
    arrivals = scenario.arrivals[scenario.warmup : _end(scenario)]
    best, use = clairvoyant.best(arrivals, scenario.cold_start, scenario.rate, scenario.slo, scenario.attainment)
    return clairvoyant.gpu_hours(best, len(arrivals)), use


def _end(scenario: Scenario) -> int:
    """Return the second at which the last row ends."""
    return scenario.warmup + (len(scenario.arrivals) - scenario.warmup) // ROW * ROW


def score(
    scenario: Scenario, course: Course, clairvoyant_hours: tuple[float, float], cost: float = 1.0
) -> tuple[Score, Timeline]:
    """Return the score and the timeline after the warm-up; `cost` is an hour's of a replica.

    `clairvoyant_hours` are those of `reference`.
    """
    arrivals = scenario.arrivals[: len(course.existing) * STEP]
    seen = waits(arrivals, np.repeat(course.ready, STEP) * scenario.rate, scenario.slo)
    begin, end = scenario.warmup, _end(scenario)

    def rows(values: Ints) -> Ints:
        sums: Ints = values[begin:end].reshape(-1, ROW).sum(axis=1)
        return sums

    def states(values: Ints) -> Ints:
        return values[begin // STEP : end // STEP : ROW // STEP]

    timeline = Timeline(
        np.arange(begin, end, ROW),
        rows(arrivals),
        states(course.existing),
        states(course.ready),
        states(course.target),
        np.round(seen.queue[begin + ROW - 1 : end : ROW]).astype(np.int64),
        rows(seen.late.astype(np.int64)),
    )
    least, use = clairvoyant_hours
    hours = float(timeline.created.sum()) * ROW / 3600
    requests, late = int(timeline.arrivals.sum()), int(timeline.late.sum())
    p50, p99 = quantiles(seen.seconds[begin:end], arrivals[begin:end], 0.5, 0.99)
    days = (end - begin) / 86400
    return (
        Score(
            attainment=1 - late / requests if requests else 1.0,
            gpu_hours=hours,
            gpu_hours_clairvoyant=least,
            ratio=hours / least,
            cost=hours * cost,
            actions=course.changes,
            actions_per_day=course.changes / days,
            removed_while_loading=course.removed_while_loading,
            wait_p50_seconds=p50,
            wait_p99_seconds=p99,
            peak_replicas=int(timeline.created.max()),
            decision_cpu_milliseconds_p99=float(np.quantile(course.cpu, 0.99)) if len(course.cpu) else 0.0,
            requests=requests,
            late=late,
            days=days,
            clairvoyant_use=use,
        ),
        timeline,
    )


def hindsight(scenario: Scenario) -> int:
    """Return the least number of replicas that, always Ready, meets the attainment after the warm-up."""
    arrivals = scenario.arrivals[scenario.warmup :]
    late = (1 - scenario.attainment) * arrivals.sum()
    low, high = 1, scenario.most
    while low < high:
        count = (low + high) // 2
        capacity = np.full(len(arrivals), count * scenario.rate)
        if waits(arrivals, capacity, scenario.slo).late.sum() <= late:
            high = count
        else:
            low = count + 1
    return low


def clairvoyant_course(scenario: Scenario, use: float) -> Course:
    """Return the course of the clairvoyant, whose replicas start in the median time and never fail."""
    seconds = len(scenario.arrivals) // STEP * STEP
    cold_start, warmup = scenario.cold_start, scenario.warmup
    parts = scenario.arrivals[:warmup], scenario.arrivals[warmup:seconds]
    wanted = [clairvoyant.wanted(part, cold_start, scenario.rate, use) for part in parts]
    created = [np.repeat(of, clairvoyant.STEP)[: len(part)] for of, part in zip(wanted, parts, strict=True)]
    ready = [clairvoyant.ready(of, cold_start, len(part)) for of, part in zip(wanted, parts, strict=True)]
    existing = np.concatenate(created)[::STEP]
    changes = int(np.abs(np.diff(wanted[1])).sum())
    return Course(existing, np.concatenate(ready)[::STEP], existing, changes, 0, np.zeros(0))
