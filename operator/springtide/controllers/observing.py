"""From what the operator knows of a service to what scaling decides by: pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf, isnan, nan
from typing import Any
from zoneinfo import ZoneInfo

from springtide.api.modelservice import ModelService
from springtide.scaling.observed import Observed, PoolSeen, Traffic
from springtide.scaling.settings import ScalingSettings
from springtide.scaling.state import State
from springtide.signals.capacity import Capacity
from springtide.signals.starts import percentile
from springtide.signals.values import Reading, Signals
from springtide.status.observed import ObservedDeployment, ObservedPod


@dataclass(frozen=True)
class Senses:
    """What was measured of a service, by pool; pool "" is its gateway.

    `elapsed` are the seconds since the signals were read, `trouble` why there are none; `unread` while none were asked
    for yet, as when the operator has just started. `state` is what the last
    decision remembered.
    """

    signals: Mapping[str, Signals] = field(default_factory=dict)
    capacities: Mapping[str, Capacity] = field(default_factory=dict)
    elapsed: float = inf
    trouble: str = ""
    unread: bool = False
    state: State | None = None


def observe(
    service: ModelService,
    settings: ScalingSettings,
    deployments: Mapping[str, ObservedDeployment],
    pods: Sequence[ObservedPod],
    status: Mapping[str, Any],
    senses: Senses,
    now: float,
) -> Observed:
    """Return the service as it is at `now`, in Unix seconds; `status` is what was written last."""
    recorded = {one["name"]: one["desired"] for one in status.get("pools", ())}
    pools = {}
    for limits in settings.pools:
        name = limits.name
        capacity = senses.capacities.get(name, Capacity()).estimate
        # Without a record, as after a restore, what the workload is asked for is the target.
        target = recorded.get(name, deployments.get(name, ObservedDeployment()).target)
        pools[name] = _seen([pod for pod in pods if pod.pool == name], now, capacity or nan, target)
    serving = {name: signals for name, signals in senses.signals.items() if name in pools}
    return Observed(
        now=now,
        traffic=traffic(serving, senses.signals.get(""), _latency(service), senses.elapsed),
        pools=pools,
        ready_seconds=ready_seconds([pod for pod in pods if pod.pool in pools]),
        week_minutes=week_minutes({one.timezone for one in settings.schedules}, now),
    )


def traffic(pools: Mapping[str, Signals], gateway: Signals | None, latency: str, elapsed: float) -> Traffic:
    """Return the traffic of a service from the signals of its pools, which were read `elapsed` seconds ago.

    A gateway knows of requests that reach no pod, so its word on them counts where it is known. `latency` names the
    signal that the objective is about. One pool of which nothing is known leaves the whole unknown.
    """
    serving = [signals for signals in pools.values() if signals.ready]
    requests: list[Reading | None] = [signals.requests for signals in serving]
    if gateway is not None and gateway.requests is not None:
        requests = [gateway.requests]
    known = [reading for reading in requests if reading is not None]
    if not known or len(known) < len(requests):
        return Traffic(age=elapsed if serving else 0.0)
    return Traffic(
        rates=(sum(reading.value for reading in known),),
        queue=_sum(signals.queue for signals in serving),
        in_flight=_sum(signals.in_flight for signals in serving),
        latency=max((one.value for signals in serving if (one := getattr(signals, latency)) is not None), default=nan),
        age=max(reading.age for reading in known) + elapsed,
    )


def ready_seconds(pods: Iterable[ObservedPod]) -> tuple[float, float]:
    """Return the p50 and the p95 of the time to Ready over the starts of pods that are here; NaN without any."""
    starts = [pod.start.total for pod in pods if pod.start is not None]
    p50, p95 = percentile(starts, 50), percentile(starts, 95)
    return (nan, nan) if p50 is None or p95 is None else (p50, p95)


def week_minutes(timezones: Iterable[str], now: float) -> dict[str, float]:
    """Return the minutes since Monday 00:00 in each timezone that is known here."""
    minutes = {}
    for name in timezones:
        zone = timezone(name)
        if zone is not None:
            there = datetime.fromtimestamp(now, UTC).astimezone(zone)
            minutes[name] = (there.weekday() * 24 + there.hour) * 60 + there.minute + there.second / 60
    return minutes


def timezone(name: str) -> ZoneInfo | None:
    """Return a timezone by its name; None where the time zone database does not have it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _seen(pods: Sequence[ObservedPod], now: float, capacity: float, target: int | None) -> PoolSeen:
    here = [pod for pod in pods if not pod.deleting]
    loading = (now - pod.created for pod in here if not pod.ready)
    return PoolSeen(
        ready=sum(pod.ready for pod in here),
        loading=tuple(sorted(0.0 if isnan(age) else max(age, 0.0) for age in loading)),
        capacity=capacity,
        target=target,
    )


def _latency(service: ModelService) -> str:
    first_token = service.spec.objectives.time_to_first_token_p99_milliseconds
    return "latency" if first_token is None else "time_to_first_token"


def _sum(readings: Iterable[Reading | None]) -> float:
    known = [reading.value for reading in readings if reading is not None]
    return sum(known) if known else nan
