"""Services as scaling sees them: steady by default, each test changes what it is about."""

from collections.abc import Iterable
from dataclasses import replace
from math import nan
from typing import Any

from springtide.scaling.decide import Decision, decide
from springtide.scaling.observed import Observed, PoolSeen, Traffic
from springtide.scaling.outlook import Outlook
from springtide.scaling.settings import PoolLimits, ScalingSettings
from springtide.scaling.state import State

LEVELS = (500, 800, 900, 950, 990)
SETTINGS = ScalingSettings((PoolLimits("gpu", 1, 100),))
START = 1_000_000_020.0  # a whole minute
P50, P95 = 180.0, 270.0


def pool(ready: int, *loading: float, capacity: float = 2.0, target: int | None = None) -> PoolSeen:
    return PoolSeen(ready, loading, capacity, ready + len(loading) if target is None else target)


def seen(rate: float, ready: int, *loading: float, now: float = START, queue: float = 0.0, **more: Any) -> Observed:
    values: dict[str, Any] = {
        "traffic": Traffic((rate,) * 4, queue, age=15.0),
        "pools": {"gpu": pool(ready, *loading)},
        "ready_seconds": (P50, P95),
    }
    return Observed(now, **(values | more))


def outlook(issued: float, *rates: float, spread: float = 0.0, bounded: bool = True, steps: int = 15) -> Outlook:
    """Return medians by step, the last one repeated; the 99 % quantile is `spread` of the median above it."""
    medians = [*rates, *[rates[-1]] * (steps - len(rates))]
    shares = (0.0, 0.36, 0.55, 0.7, 1.0)
    rows = tuple(tuple(rate * (1 + spread * share) for share in shares) for rate in medians)
    return Outlook(issued, LEVELS, rows, bounded)


def watched(
    rate: float = 40.0, ready: int = 24, seconds: float = 3600.0, settings: ScalingSettings = SETTINGS
) -> State:
    """Return the state after a steady time that ends at START."""
    state = None
    steps = int(seconds // 15)
    for step in range(steps):
        state = decide(seen(rate, ready, now=START - 15 * (steps - step)), settings, state).state
    assert state is not None
    return state


def calm(state: State) -> State:
    """Return a state in which nothing was volatile and waits are short."""
    steady = replace(state.volatility, fast=0.0, slow=0.0)
    return replace(state, volatility=steady, queueing=replace(state.queueing, variability=0.0))


def follow(scenes: Iterable[Observed], state: State | None, settings: ScalingSettings = SETTINGS) -> list[Decision]:
    """Decide scene by scene; the state goes on."""
    made = []
    for one in scenes:
        made.append(decide(one, settings, state))
        state = made[-1].state
    return made


UNKNOWN = Traffic((nan,) * 4, nan, age=15.0)
