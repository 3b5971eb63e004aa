"""What Prometheus answers: samples, or why there are none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FaultName = Literal["Unreachable", "TimedOut", "Unauthorized", "Refused", "Malformed"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of one series; `at` is when the question was answered, in unix seconds by Prometheus' clock."""

    labels: Mapping[str, str]
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one series over time, with the unix seconds of each."""

    labels: Mapping[str, str]
    values: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    | fault | what happened |
    |---|---|
    | Unreachable | no connection: down, a wrong host or port, a broken certificate, a token file that can't be read |
    | TimedOut | no whole answer before the deadline, or earlier questions hang still |
    | Unauthorized | HTTP 401 or 403 |
    | Refused | another HTTP status than 200: a wrong path, a login page, a query that Prometheus can't do |
    | Malformed | 200, but not what Prometheus answers: another server, or an answer of absurd size |
    """

    fault: FaultName
    message: str


Answer = tuple[Sample, ...] | Failure
RangeAnswer = tuple[Series, ...] | Failure
