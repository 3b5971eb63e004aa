"""One moment of a service: what is seen, set and assumed, brought together for one decision."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isnan, nan

from springtide.scaling.belief import known
from springtide.scaling.demand import rate_of
from springtide.scaling.observed import Observed, PoolSeen
from springtide.scaling.settings import PoolLimits, ScalingSettings
from springtide.scaling.tuning import Tuning

# A measured capacity that is so many times off what its owner said is taken to be no more than that.
_OFF = 5.0


@dataclass(frozen=True)
class Pool:
    """A pool: from `least` to `most` replicas, each serves `capacity` requests a second, NaN where that is unknown.

    `held` is the recorded target within the limits, `raised` the same with what schedules ask for. `cost` is an hour's
    of one replica, NaN where nothing is said. `loading` are ages in seconds.
    """

    name: str
    least: int
    most: int
    held: int
    raised: int
    capacity: float = nan
    cost: float = nan
    fallback: bool = False
    ready: int = 0
    loading: tuple[float, ...] = ()

    @property
    def created(self) -> int:
        """All replicas that exist."""
        return self.ready + len(self.loading)

    @property
    def price(self) -> tuple[bool, float]:
        """What pools are ordered by: fallback pools are dearest, then those of which no cost is known."""
        return self.fallback, inf if isnan(self.cost) else self.cost / self.capacity


@dataclass(frozen=True)
class Moment:
    """A service now. A replica that is created now is Ready in `p50` seconds, with 95 % certainty in `p95`.

    `rate` is requests a second, NaN while unknown.
    """

    seen: Observed
    settings: ScalingSettings
    tuning: Tuning
    pools: tuple[Pool, ...]
    rate: float
    p50: float
    p95: float

    @property
    def lead(self) -> float:
        """How many seconds a decision looks ahead."""
        return self.p95 + self.tuning.tick

    @property
    def queue(self) -> float:
        """The requests that wait; none where that is not known."""
        return self.seen.traffic.queue if known(self.seen.traffic.queue) else 0.0

    @property
    def serving(self) -> float:
        """What ready replicas serve, in requests a second."""
        return sum(pool.ready * pool.capacity for pool in self.pools)

    @property
    def arriving(self) -> list[tuple[float, float]]:
        """The replicas that load: seconds until each is Ready, and requests a second. Stuck ones are not waited for."""
        return [
            (max(self.p50 - age, 0.0), pool.capacity)
            for pool in self.pools
            for age in pool.loading
            if age < self.patience
        ]

    @property
    def patience(self) -> float:
        """The age in seconds from which a replica that loads is stuck."""
        return self.tuning.patience * self.p95


def lead_times(seen: Observed, tuning: Tuning) -> tuple[float, float]:
    """Return the time to Ready as measured, p50 and p95 in seconds, or what is assumed while none was measured."""
    p50, p95 = seen.ready_seconds
    p50 = p50 if known(p50) else tuning.start_p50
    return p50, max(p95 if known(p95) else tuning.start_p95, p50)


def moment(seen: Observed, settings: ScalingSettings, tuning: Tuning, scheduled: Mapping[str, int]) -> Moment:
    """Return the moment; `scheduled` has the replicas that pools keep by their schedules."""
    pools = tuple(
        _pool(one, seen.pools.get(one.name, PoolSeen()), scheduled.get(one.name, 0)) for one in settings.pools
    )
    return Moment(seen, settings, tuning, pools, rate_of(seen.traffic, tuning), *lead_times(seen, tuning))


def blindness(now: Moment) -> tuple[str, str] | None:
    """Return why nothing can be decided, as a reason and a message; None when it can."""
    if not 0 <= now.seen.traffic.age <= now.tuning.stale:
        return "MetricsStale", f"the newest metrics are older than {now.tuning.stale:.0f} s"
    if isnan(now.rate):
        return "MetricsStale", "no arrival rate is known"
    for pool in now.pools:
        if not known(pool.capacity):
            return "CapacityUnknown", (
                f"what a replica of pool {pool.name} serves was not measured yet; "
                f"capacity.requestsPerSecond of the pool would say it"
            )
    if not now.rate and not any(pool.ready for pool in now.pools) and any(pool.created for pool in now.pools):
        return "NotReady", "no replica is ready, so requests may come that nothing counts"
    return None


def _pool(limits: PoolLimits, seen: PoolSeen, scheduled: int) -> Pool:
    held = min(max(seen.created if seen.target is None else seen.target, limits.least), limits.most)
    least = min(max(limits.least, scheduled), limits.most)
    capacity = seen.capacity if known(seen.capacity) and seen.capacity > 0 else limits.prior
    if limits.prior > 0:
        capacity = min(max(capacity, limits.prior / _OFF), limits.prior * _OFF)
    return Pool(
        limits.name,
        least,
        limits.most,
        held,
        max(held, least),
        capacity if capacity > 0 else nan,
        limits.cost,
        limits.fallback,
        seen.ready,
        seen.loading,
    )
