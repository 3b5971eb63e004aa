"""From a ModelService to the settings of its scaling."""

from math import nan

from springtide.api.modelservice import ModelService
from springtide.api.pools import Pool
from springtide.api.quantity import parse_quantity
from springtide.api.scaling import Schedule as WrittenSchedule
from springtide.scaling.schedules import Schedule
from springtide.scaling.settings import PoolLimits, ScalingSettings

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def scaling_settings(service: ModelService) -> ScalingSettings:
    """Return the settings of the pools that answer through the service's address.

    A pool without replicas.max keeps its minimum; spec.replicas pins the first pool.
    """
    spec = service.spec
    objectives, scaling = spec.objectives, spec.scaling
    milliseconds = objectives.time_to_first_token_p99_milliseconds or objectives.latency_p99_milliseconds
    seconds = milliseconds / 1000 if milliseconds else nan
    first = spec.pools[0].name
    return ScalingSettings(
        pools=tuple(
            _limits(pool, spec.replicas if pool.name == first else None)
            for pool in spec.pools
            if pool.tier != "Offline"
        ),
        mode=scaling.mode,
        forecast=scaling.forecast,
        cost_of_shortage=float(parse_quantity(scaling.cost_of_shortage)),
        stabilization_seconds=float(scaling.scale_down_stabilization_seconds),
        schedules=tuple(_schedule(one, first) for one in scaling.schedules),
        wait_seconds=seconds if milliseconds else ScalingSettings.wait_seconds,
        latency_seconds=seconds,
        attainment=float(parse_quantity(objectives.attainment_percent) / 100),
        pinned=first if spec.replicas is not None else "",
    )


def _limits(pool: Pool, pinned: int | None) -> PoolLimits:
    least = pool.replicas.min if pinned is None else pinned
    most = pool.replicas.max or pool.replicas.min
    return PoolLimits(
        name=pool.name,
        least=least,
        most=most if pinned is None else pinned,
        cost=float(parse_quantity(pool.cost_per_hour)) if pool.cost_per_hour is not None else nan,
        prior=float(parse_quantity(pool.capacity.requests_per_second)) if pool.capacity else nan,
        fallback=pool.tier == "Fallback",
    )


def _schedule(written: WrittenSchedule, first: str) -> Schedule:
    return Schedule(
        name=written.name,
        pool=written.pool or first,
        timezone=written.timezone,
        days=tuple(_DAYS.index(day) for day in written.days) or tuple(range(len(_DAYS))),
        start=_minute(written.start),
        end=_minute(written.end),
        least=written.min_replicas,
    )


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return 60 * int(hours) + int(minutes)
