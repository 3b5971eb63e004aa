"""What is seen of a service at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan

from springtide.scaling.outlook import Outlook


@dataclass(frozen=True)
class Traffic:
    """What metrics say of a service.

    `rates` are requests a second that arrived in each of the last scrape intervals, the newest last, NaN where unknown.
    `queue` and `in_flight` are requests, `latency` the P99 in seconds; NaN where unknown. `age` is in seconds, of the
    newest sample.
    """

    rates: tuple[float, ...] = ()
    queue: float = nan
    in_flight: float = nan
    latency: float = nan
    age: float = 0.0


@dataclass(frozen=True)
class PoolSeen:
    """The replicas of a pool, without those that are being removed.

    `loading` are the ages in seconds of those that are not Ready and never were; `capacity` is what one replica was
    measured to serve, in requests a second, NaN while unknown. `target` is the recorded one, None when it was lost.
    """

    ready: int = 0
    loading: tuple[float, ...] = ()
    capacity: float = nan
    target: int | None = None

    @property
    def created(self) -> int:
        """All that exist."""
        return self.ready + len(self.loading)


@dataclass(frozen=True)
class Observed:
    """A service at `now`, in Unix seconds.

    `ready_seconds` is the measured time from creation to Ready, p50 and p95. `week_minutes` has, for each timezone
    that a schedule names, the minutes since Monday 00:00 there. `announced` are outlooks that people wrote.
    """

    now: float
    traffic: Traffic
    pools: Mapping[str, PoolSeen]
    ready_seconds: tuple[float, float] = (nan, nan)
    week_minutes: Mapping[str, float] = field(default_factory=dict)
    outlook: Outlook | None = None
    announced: tuple[Outlook, ...] = ()
