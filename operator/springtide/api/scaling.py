"""How many replicas traffic gets, and what it may cost."""

from typing import Annotated, Any, Literal

from pydantic import Field

from springtide.api.base import ATOMIC_LIST, DNS_LABEL, ApiModel, Int32
from springtide.api.quantity import parse_quantity
from springtide.api.resources import Amount
from springtide.api.rules import ListMap, Rule, Rules

Day = Literal["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
ScalingMode = Literal["Auto", "Observe", "Off"]

_TIME = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
_ZONE = "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"


def above_zero(what: str) -> Rule:
    """Return the rule of an amount that must not be 0; `what` is the field."""
    return Rule(
        "quantity(string(self)).isGreaterThan(quantity('0'))",
        f"{what} must be more than 0",
        lambda amount: parse_quantity(amount) > 0,
    )


_PERCENT_RULE = Rule(
    "quantity(string(self)).compareTo(quantity('50')) >= 0 && quantity(string(self)).isLessThan(quantity('100'))",
    "must be at least 50 and less than 100",
    lambda amount: 50 <= parse_quantity(amount) < 100,
)


class Capacity(ApiModel):
    """What one replica serves."""

    requests_per_second: Annotated[Amount, Rules(above_zero("requestsPerSecond"))] = Field(
        description="What one replica serves, until it was measured. What is measured is believed up to five times "
        "more or less."
    )


class Objectives(ApiModel):
    """What clients may expect."""

    latency_p99_milliseconds: Int32 | None = Field(
        default=None, ge=1, le=3600000, description="99 percent of the requests take no longer."
    )
    time_to_first_token_p99_milliseconds: Int32 | None = Field(
        default=None,
        ge=1,
        le=3600000,
        description="99 percent of the requests get their first token no later. It goes before latencyP99Milliseconds.",
    )
    attainment_percent: Annotated[Amount, Rules(_PERCENT_RULE)] = Field(
        default=99, description="The percentage of requests that must not wait longer than these allow. Default: 99."
    )


class Schedule(ApiModel):
    """A time of the week at which a pool keeps more replicas."""

    name: str = Field(min_length=1, max_length=63, pattern=DNS_LABEL, description="The name of the schedule.")
    pool: str | None = Field(
        default=None, min_length=1, max_length=40, pattern=DNS_LABEL, description="The pool. Default: the first one."
    )
    timezone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        pattern=_ZONE,
        description="The timezone of start and end, as in Europe/Berlin. Default: UTC.",
    )
    days: tuple[Day, ...] = Field(
        default=(),
        max_length=7,
        description="The days on which it begins. Default: all.",
        json_schema_extra=ATOMIC_LIST,
    )
    start: str = Field(
        min_length=5, max_length=5, pattern=_TIME, description="When the replicas are ready, as in 08:00."
    )
    end: str = Field(
        min_length=5,
        max_length=5,
        pattern=_TIME,
        description="When they may go; what is not after start is on the next day, so a night is 22:00 to 06:00.",
    )
    min_replicas: Int32 = Field(ge=1, le=10000, description="The replicas that the pool keeps, up to replicas.max.")


class Scaling(ApiModel):
    """How the number of replicas follows traffic."""

    mode: ScalingMode = Field(
        default="Auto",
        description="Auto scales the pools that have replicas.max. Observe only says what it would do. Off leaves the "
        "number of replicas as it is. Default: Auto.",
    )
    forecast: ScalingMode = Field(
        default="Auto",
        description="Auto starts replicas before forecast traffic comes. Observe only says what the forecast asks for. "
        "Off reads none. Default: Auto.",
    )
    cost_of_shortage: Annotated[Amount, Rules(above_zero("costOfShortage"))] = Field(
        default=10,
        description="What a missing replica costs, in spare ones: at 10, capacity covers what traffic exceeds once in "
        "11 times. Default: 10.",
    )
    scale_down_stabilization_seconds: Int32 = Field(
        default=600,
        ge=0,
        le=3600,
        description="Replicas are kept that were needed within this time. Default: 600.",
    )
    schedules: Annotated[tuple[Schedule, ...], ListMap("name")] = Field(
        default=(), max_length=16, description="Times of the week at which pools keep more replicas."
    )


def _pools_exist(spec: Any) -> bool:
    names = {pool.name for pool in spec.pools}
    return all(one.pool is None or one.pool in names for one in spec.scaling.schedules)


SCALING_RULES = (
    Rule(
        """!has(self.scaling) || !has(self.scaling.schedules) || self.scaling.schedules.all(one,
           !has(one.pool) || self.pools.exists(pool, pool.name == one.pool))""",
        "must name pools that exist",
        _pools_exist,
        ".scaling.schedules",
    ),
)
