"""The clock of the simulation: arrivals, a fleet, and a policy that is asked again and again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from springtide.simulation.fleet import Fleet
from springtide.simulation.view import STEP, View

Ints = NDArray[np.int64]
_HOUR = 3600


class Policy(Protocol):
    """Something that decides how many replicas there should be, every `tick` seconds, a multiple of 5."""

    tick: int

    def decide(self, view: View) -> int:
        """Return the target."""


@dataclass(frozen=True)
class Scenario:
    """What is simulated: `arrivals` by second; replicas that serve `rate` requests a second each, from `least` to
    `most`.

    `cold_start` is the median time to Ready and `slo` the longest wait that is in time, both in seconds. The first
    `warmup` seconds are not scored. `attainment` is the share of requests that should be in time.
    """

    arrivals: Ints
    rate: float
    least: int
    most: int
    cold_start: float
    slo: float
    attainment: float
    warmup: int
    seed: int


@dataclass(frozen=True)
class Course:
    """What happened, by step of 5 s: the replicas that exist and are paid, that serve, and that were wanted.

    `changes` and `removed_while_loading` were counted after the warm-up. `cpu` are milliseconds of each decision.
    """

    existing: Ints
    ready: Ints
    target: Ints
    changes: int
    removed_while_loading: int
    cpu: NDArray[np.float64]


def run(
    scenario: Scenario,
    policy: Policy,
    cpu_seconds: Callable[[], float],
    progress: Callable[[float], None] = lambda share: None,
) -> Course:
    """Return what the policy does to the scenario; `cpu_seconds` is the clock that decisions are timed with."""
    fleet = Fleet(scenario.cold_start, scenario.least, np.random.default_rng([scenario.seed, 1]))
    seconds = len(scenario.arrivals) // STEP * STEP
    view = View(scenario.arrivals[:seconds], fleet, scenario.rate)
    existing, ready, target = (np.empty(seconds // STEP, dtype=np.int64) for _ in range(3))
    cpu: list[float] = []
    changes, removed, queue = 0, 0, 0.0
    coming: list[int] = []
    for now in range(0, seconds, STEP):
        if now % _HOUR == 0:
            coming = scenario.arrivals[now : now + _HOUR].tolist()
            progress(now / seconds)
        if now == scenario.warmup:
            changes, removed = 0, fleet.removed_while_loading
        view.now = now
        fleet.advance(now)
        if now % policy.tick == 0:
            began = cpu_seconds()
            wanted = policy.decide(view)
            cpu.append(1000 * (cpu_seconds() - began))
            view.target = min(max(wanted, scenario.least), scenario.most)
            changes += fleet.scale(view.target, now)
        index = now // STEP
        existing[index], ready[index], target[index] = fleet.existing, fleet.ready, view.target
        capacity, before, came = fleet.ready * scenario.rate, queue, 0
        for count in coming[now % _HOUR : now % _HOUR + STEP]:
            came += count
            queue = max(queue + count - capacity, 0.0)
        view.record(queue, before + came - queue)
    progress(1.0)
    return Course(existing, ready, target, changes, fleet.removed_while_loading - removed, np.array(cpu))
