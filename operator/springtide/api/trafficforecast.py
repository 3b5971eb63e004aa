"""TrafficForecast: what a producer or a person expects of the traffic of a ModelService."""

from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field

from springtide.api.base import ATOMIC_LIST, DNS_LABEL, ApiModel, Int32, Int64, list_map
from springtide.api.conditions import Condition
from springtide.api.modelservice import Metadata
from springtide.api.quantity import parse_quantity
from springtide.api.resources import Amount
from springtide.api.rules import ListMap, Rule, Rules
from springtide.api.scaling import above_zero
from springtide.api.time import Time, unix_seconds

FORECASTER = "springtide-forecaster"
"""The producer that Springtide's own forecaster names."""

_LONGEST_STEPS = 1440
_LONGEST_ANNOUNCEMENT = 7 * 86400

_MOST = 10**12

_ASCENDING = Rule(
    "self.map(one, one.thousandths).isSorted()",
    "must ascend by thousandths",
    lambda quantiles: all(one.thousandths < other.thousandths for one, other in pairwise(quantiles)),
)
_EQUAL = "self.all(one, size(one.milliRequestsPerSecond) == size(self[0].milliRequestsPerSecond))"


def _steps(quantiles: Any) -> list[tuple[int, ...]]:
    return [one.milli_requests_per_second for one in quantiles]


def _same_length(quantiles: Any) -> bool:
    return len({len(steps) for steps in _steps(quantiles)}) == 1


_SAME_LENGTH = Rule(_EQUAL, "must have as many steps in milliRequestsPerSecond of each item", _same_length)
# Each step by itself: comparing the items pair by pair takes the API server three times as long.
_NO_CROSSING = Rule(
    f"""!{_EQUAL} || self[0].milliRequestsPerSecond.all(step, rate,
        self.map(one, one.milliRequestsPerSecond[step]).isSorted())""",
    "must not have a step at which a higher quantile is below a lower one",
    lambda quantiles: (
        not _same_length(quantiles)
        or all(low <= high for rates in zip(*_steps(quantiles), strict=True) for low, high in pairwise(rates))
    ),
)


class Quantile(ApiModel):
    """One quantile of the rate, step by step."""

    thousandths: Int32 = Field(
        ge=1,
        le=999,
        description="Which quantile, in thousandths: 500 is the median, and 950 what traffic exceeds once in 20 times.",
    )
    milli_requests_per_second: tuple[Annotated[Int64, Field(ge=0, le=_MOST)], ...] = Field(
        min_length=1,
        max_length=_LONGEST_STEPS,
        description="Thousandths of a request a second that arrive, for each minute from startsAt on.",
        json_schema_extra=ATOMIC_LIST,
    )


class Series(ApiModel):
    """A forecast in steps of 60 seconds."""

    producer: str = Field(
        min_length=1,
        max_length=63,
        pattern=DNS_LABEL,
        description=f"What made it. Any other producer goes before {FORECASTER}, Springtide's own.",
    )
    issued_at: Time = Field(
        description="When it was made: the forecast that was issued last is used, while it can be believed."
    )
    starts_at: Time | None = Field(default=None, description="When the first step begins. Default: issuedAt.")
    quantiles: Annotated[
        tuple[Quantile, ...], ListMap("thousandths"), Rules(_ASCENDING, _SAME_LENGTH, _NO_CROSSING)
    ] = Field(min_length=1, max_length=16, description="The quantiles, ascending, all of as many steps.")


_ABOVE_ONE = Rule(
    "quantity(string(self)).isGreaterThan(quantity('1')) && quantity(string(self)).compareTo(quantity('10000')) <= 0",
    "must be more than 1 and at most 10000",
    lambda amount: 1 < parse_quantity(amount) <= 10000,
)
_ABSURD = Rule(
    f"quantity(string(self)).compareTo(quantity('{_MOST // 1000}')) <= 0",
    f"must be at most {_MOST // 1000}",
    lambda amount: parse_quantity(amount) <= _MOST // 1000,
)
_ONE_SIZE = Rule(
    "has(self.multiplier) != has(self.requestsPerSecond)",
    "must have either multiplier or requestsPerSecond",
    lambda one: (one.multiplier is None) != (one.requests_per_second is None),
)
_ENDS_LATER = Rule(
    "self.endsAt > self.startsAt",
    "must be after startsAt",
    lambda one: unix_seconds(one.ends_at) > unix_seconds(one.starts_at),
    ".endsAt",
)
_NOT_FOR_EVER = Rule(
    f"self.endsAt - self.startsAt <= duration('{_LONGEST_ANNOUNCEMENT}s')",
    "must be within 7 days of startsAt: use spec.scaling.schedules of the ModelService for what lasts",
    lambda one: unix_seconds(one.ends_at) - unix_seconds(one.starts_at) <= _LONGEST_ANNOUNCEMENT,
    ".endsAt",
)


class Announcement(ApiModel):
    """What a person knows: a launch, a sale, a migration."""

    starts_at: Time = Field(description="When the traffic comes. Replicas are started ahead, so as to be ready then.")
    ends_at: Time = Field(description="When it is over.")
    multiplier: Annotated[Amount, Rules(_ABOVE_ONE)] | None = Field(
        default=None,
        description="How many times what is expected at startsAt: the median of the service's forecast where one "
        "reaches so far, else the rate of now.",
    )
    requests_per_second: Annotated[Amount, Rules(above_zero("requestsPerSecond"), _ABSURD)] | None = Field(
        default=None, description="The rate itself, for what had no traffic before."
    )


_ONE_KIND = Rule(
    "has(self.series) != has(self.announcement)",
    "must have either series or announcement",
    lambda spec: (spec.series is None) != (spec.announcement is None),
)


class TrafficForecastSpec(ApiModel):
    """What is expected of which service."""

    service_name: str = Field(
        min_length=1,
        max_length=63,
        pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$",
        description="The ModelService of this namespace whose traffic it is about.",
    )
    series: Series | None = Field(default=None, description="A forecast that a program made.")
    announcement: Annotated[Announcement, Rules(_ONE_SIZE, _ENDS_LATER, _NOT_FOR_EVER)] | None = Field(
        default=None, description="What a person knows to come. Capacity follows it, up to replicas.max."
    )


FORECAST_RULES = (_ONE_KIND,)


class TrafficForecastStatus(ApiModel):
    """What became of it, as the operator last saw it."""

    observed_generation: Int64 = Field(
        default=0, ge=-1, description="The generation of the spec that was judged; -1 at first."
    )
    conditions: tuple[Condition, ...] = Field(
        default=(), max_length=16, description="Accepted and Used.", json_schema_extra=list_map("type")
    )
    baseline_milli_requests_per_second: Int64 | None = Field(
        default=None,
        ge=0,
        description="Of an announcement with a multiplier: what was expected at startsAt. It stays what it was then, "
        "since what is measured later has the announced traffic in it.",
    )


class TrafficForecast(ApiModel):
    """What is expected of the traffic of a ModelService."""

    metadata: Metadata
    spec: Annotated[TrafficForecastSpec, Rules(*FORECAST_RULES)]


class TrafficForecastSchema(ApiModel):
    """A TrafficForecast says what traffic a ModelService will get, so that its replicas are ready before."""

    spec: Annotated[TrafficForecastSpec, Rules(*FORECAST_RULES)] = Field(description="What is expected.")
    status: TrafficForecastStatus | None = Field(default=None, description="What became of it.")
