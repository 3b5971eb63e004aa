"""What a ModelService says about its scaling, with every default applied."""

from dataclasses import dataclass
from math import nan
from typing import Literal

from springtide.scaling.schedules import Schedule

Mode = Literal["Auto", "Observe", "Off"]


@dataclass(frozen=True)
class PoolLimits:
    """How many replicas a pool may have, and what one costs an hour and is said to serve; NaN where nothing is said.

    A `fallback` pool grows only after the others are at their limits.
    """

    name: str
    least: int
    most: int
    cost: float = nan
    prior: float = nan
    fallback: bool = False


@dataclass(frozen=True)
class ScalingSettings:
    """The settings of one service. Only pools that answer through the service's own address are in it.

    `cost_of_shortage` is what a second of a missing replica costs, in seconds of a spare one. `wait_seconds` is how
    long requests may wait and still meet the objective, or, where `latency_seconds` is known, what is taken while
    nothing is learned yet. `attainment` is the share of requests that must meet it. `pinned` is the pool that
    spec.replicas pins.
    """

    pools: tuple[PoolLimits, ...]
    mode: Mode = "Auto"
    forecast: Mode = "Auto"
    cost_of_shortage: float = 10.0
    stabilization_seconds: float = 600.0
    schedules: tuple[Schedule, ...] = ()
    wait_seconds: float = 5.0
    latency_seconds: float = nan
    attainment: float = 0.99
    pinned: str = ""

    @property
    def level(self) -> float:
        """The quantile of demand that pays, in thousandths: c_u / (c_u + c_o), the newsvendor's."""
        return 1000 * self.cost_of_shortage / (self.cost_of_shortage + 1)
