"""The load of a pool as it is known at a moment, with the age of each value and what is doubted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

DoubtName = Literal["NotAnswered", "NothingReady", "Stale", "ClockJump", "PartialScrape", "Outlier", "NotFinite"]

# A value that is older than this is no news of anything.
FORGOTTEN_SECONDS = 3600.0


class Key(NamedTuple):
    """A pool of a service, or with pool "" the service as its gateway sees it."""

    namespace: str
    service: str
    pool: str = ""


@dataclass(frozen=True)
class Pool:
    """What the operator knows of a pool.

    `ready` maps the names of its ready pods to the seconds since they became ready. `typical` is, by signal, what one
    replica has when it works at its capacity, such as {"requests": 1.5}, where that is known.
    """

    ready: Mapping[str, float]
    typical: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """A value and how many seconds ago the oldest scrape that it rests on was."""

    value: float
    age: float


@dataclass(frozen=True)
class Doubt:
    """Why a signal is not known, or rests on less than it should."""

    reason: DoubtName
    message: str


@dataclass(frozen=True)
class Signals:
    """The load of a pool. A signal is None where it isn't measured or isn't known; then what it was before holds.

    requests: a second, also those refused for want of room. served: a second, answered well. input_tokens and
    output_tokens: a second. queue: requests that wait. in_flight: those that wait or are being answered. latency and
    time_to_first_token: P99 in seconds. gpu and kv: in use, 0 to 1. `ready`: pods that the operator knows to be ready.
    `seen`: how many of them were scraped well. `settled`: how many of those have been ready for a while.
    """

    requests: Reading | None = None
    served: Reading | None = None
    input_tokens: Reading | None = None
    output_tokens: Reading | None = None
    queue: Reading | None = None
    in_flight: Reading | None = None
    latency: Reading | None = None
    time_to_first_token: Reading | None = None
    gpu: Reading | None = None
    kv: Reading | None = None
    ready: int = 0
    seen: int = 0
    settled: int = 0
    doubts: tuple[Doubt, ...] = ()

    @property
    def readings(self) -> dict[str, Reading]:
        """The signals that are known."""
        named = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in named.items() if isinstance(value, Reading)}


def carry(last: Signals, new: Signals, seconds: float) -> Signals:
    """Return the new signals, and where one is not known the last one, so many seconds older.

    `seconds` is from the last read to the new one, by a clock that does not jump. What is too old is left out.
    """
    kept: dict[str, Any] = {}
    for name in last.readings.keys() - new.readings.keys():
        old = Reading(last.readings[name].value, last.readings[name].age + max(seconds, 0.0))
        if old.age <= FORGOTTEN_SECONDS:
            kept[name] = old
    return replace(new, **kept)
