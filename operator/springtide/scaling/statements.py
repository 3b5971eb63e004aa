"""What TrafficForecasts say, as scaling reads it."""

from dataclasses import dataclass
from math import nan

from springtide.api.quantity import parse_quantity
from springtide.api.resources import Amount
from springtide.api.time import unix_seconds
from springtide.api.trafficforecast import Announcement, Series, TrafficForecastSpec
from springtide.scaling.outlook import Outlook


@dataclass(frozen=True)
class Launch:
    """What a person announced: from `start` to `end`, in Unix seconds, `rate` requests a second or `times` as many.

    One of the two is NaN.
    """

    start: float
    end: float
    rate: float = nan
    times: float = nan


@dataclass(frozen=True)
class Statement:
    """A TrafficForecast of a service: an outlook that a producer issued, or a launch.

    Times are in Unix seconds. `baseline` is the rate that was recorded of a launch, in requests a second, NaN where
    none is.
    """

    name: str
    created: float
    producer: str = ""
    issued: float = nan
    outlook: Outlook | None = None
    launch: Launch | None = None
    baseline: float = nan


@dataclass(frozen=True)
class Verdict:
    """Whether a TrafficForecast is used, with a reason for programs and a message for people.

    `baseline` is what is to be recorded of a launch, in requests a second; NaN for nothing. A `fleeting` message has
    numbers of the moment: while the reason stays, the first one tells enough.
    """

    used: bool
    reason: str
    message: str
    baseline: float = nan
    fleeting: bool = False


def statement(name: str, created: float, spec: TrafficForecastSpec, baseline: float = nan) -> Statement:
    """Return what a valid spec says."""
    series, announced = spec.series, spec.announcement
    return Statement(
        name=name,
        created=created,
        producer=series.producer if series else "",
        issued=unix_seconds(series.issued_at) if series else nan,
        outlook=_outlook(series) if series else None,
        launch=_launch(announced) if announced else None,
        baseline=baseline,
    )


def _outlook(series: Series) -> Outlook:
    steps = zip(*(one.milli_requests_per_second for one in series.quantiles), strict=True)
    return Outlook(
        issued=unix_seconds(series.starts_at or series.issued_at),
        levels=tuple(one.thousandths for one in series.quantiles),
        rates=tuple(tuple(rate / 1000 for rate in step) for step in steps),
    )


def _launch(written: Announcement) -> Launch:
    return Launch(
        start=unix_seconds(written.starts_at),
        end=unix_seconds(written.ends_at),
        rate=_number(written.requests_per_second),
        times=_number(written.multiplier),
    )


def _number(amount: Amount | None) -> float:
    return nan if amount is None else float(parse_quantity(amount))
