"""How many replicas each pool should have: the one decision, from what is seen, what is set and what is remembered."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from springtide.scaling.allocation import allocate
from springtide.scaling.belief import known
from springtide.scaling.learning import continued, learned
from springtide.scaling.moment import Moment, blindness, lead_times, moment
from springtide.scaling.need import Need, need_of, people
from springtide.scaling.observed import Observed
from springtide.scaling.queueing import allowed_wait, utilization
from springtide.scaling.removal import remove
from springtide.scaling.schedules import scheduled
from springtide.scaling.settings import ScalingSettings
from springtide.scaling.state import State
from springtide.scaling.tuning import TUNING, Tuning
from springtide.scaling.window import largest, push

Targets = Mapping[str, int]


@dataclass(frozen=True)
class Decision:
    """The replicas of each pool and why.

    `targets` are to be acted on; `wanted` is what mode Auto would have. `reason` is for programs, `message` for people.
    `shortage` is the requests a second that are needed beyond all limits, `doubt` why the forecast did not act.
    `inputs` are the numbers that led to it.
    """

    targets: Targets
    wanted: Targets
    reason: str
    message: str
    inputs: Mapping[str, float]
    state: State
    shortage: float = 0.0
    doubt: str = ""


def decide(seen: Observed, settings: ScalingSettings, state: State | None = None, tuning: Tuning = TUNING) -> Decision:
    """Return the targets of all pools; `state` is that of the last decision, None when it was lost or never was.

    Capacity goes up by what is needed when a replica that is created now is Ready, by live metrics, the forecast and
    schedules. It goes down by the window maximum of what is needed until then. What is missing or absurd moves nothing.
    """
    lead = (lead_times(seen, tuning)[1] + tuning.tick) / 60
    least, schedule = scheduled(settings.schedules, seen.week_minutes, lead)
    now = moment(seen, settings, tuning, least)
    held = {pool.name: pool.held for pool in now.pools}
    raised: Targets = {pool.name: pool.raised for pool in now.pools}
    state = continued(state, seen.now, settings.attainment, tuning)
    if settings.mode == "Off" or not settings.pools:
        return Decision(held, held, "Off", "scaling is off: replicas stay as they are, within their limits", {}, state)
    wait = allowed_wait(state.queueing, settings.wait_seconds, settings.latency_seconds)
    if blind := blindness(now):
        reason, message = blind
        inputs = {}
        if reason == "MetricsStale" and all(known(pool.capacity) for pool in now.pools):
            # What people announced asks for no metrics, only for known capacities.
            rate = people(now)
            enough, _ = allocate(rate / _utilization(now, state, rate, wait), now.pools)
            raised = {name: max(count, enough[name]) for name, count in raised.items()}
            inputs = {"announced": rate}
        targets = raised if settings.mode == "Auto" else held
        return Decision(targets, raised, reason, f"{message}; replicas are held", inputs, state)

    state = learned(state, now, wait)
    need = need_of(now, state, wait)
    limit = _utilization(now, state, need.up, wait)
    window = push(state.window, seen.now, need.down / limit, settings.stabilization_seconds)
    state = replace(state, window=window)
    up, shortage = allocate(need.up / limit, now.pools)
    down, _ = allocate(largest(window) * (1 + tuning.spare), now.pools)
    grown = {name: max(count, up[name]) for name, count in raised.items()}
    wanted, kept = remove(grown, down, now, state, wait)
    reason, message = _reason(now, wanted, need, shortage, schedule if raised != held else "", kept)
    targets = wanted if settings.mode == "Auto" else held
    return Decision(targets, wanted, reason, message, _inputs(now, state, need, limit), state, shortage, need.doubt)


def _utilization(now: Moment, state: State, rate: float, wait: float) -> float:
    """Return how far replicas may be used at a rate; that depends on how many share the load."""
    capacity = max(pool.capacity for pool in now.pools)
    return utilization(state.queueing, max(rate / capacity, 1.0), capacity, wait, now.settings.attainment)


def _inputs(now: Moment, state: State, need: Need, limit: float) -> dict[str, float]:
    return {
        "rate": now.rate,
        "queue": now.queue,
        "serving": now.serving,
        "needed": need.up,
        "reactive": need.reactive,
        "floor": need.floor,
        "announced": need.announced,
        "backlog": need.backlog,
        "utilization": limit,
        "safety": state.safety.factor,
        "leadSeconds": now.lead,
    }


def _reason(now: Moment, wanted: Targets, need: Need, shortage: float, schedule: str, kept: str) -> tuple[str, str]:
    """Return the reason and the message of targets, as they differ from what is held."""
    before, after = sum(pool.held for pool in now.pools), sum(wanted.values())
    change, pinned = f"{before} to {after} replicas", now.settings.pinned
    if shortage > 0:
        return "AtLimit", f"{shortage:.1f} requests a second more are needed than replicas.max of all pools gives"
    if after > before:
        if schedule and after == sum(pool.raised for pool in now.pools):
            return "ScheduleRises", f"{change}: schedule {schedule}"
        if need.up == need.announced:
            return "AnnouncementRises", f"{change}: {need.announced:.1f} requests a second are announced"
        if need.up == need.floor:
            return "ForecastRises", f"{change}: {need.floor:.1f} requests a second are forecast"
        return "LoadRises", f"{change}: live metrics ask for {need.up:.1f} requests a second"
    if after < before:
        return "LoadFalls", f"{change}: {need.down:.1f} requests a second are left to serve"
    if pinned:
        return "Pinned", f"spec.replicas pins pool {pinned}"
    return ("Held", kept) if kept else ("Steady", f"{after} replicas serve what is asked for")
