"""What one moment teaches for the next ones."""

from dataclasses import replace

from springtide.scaling import queueing, safety
from springtide.scaling.belief import known
from springtide.scaling.moment import Moment
from springtide.scaling.state import State, begin
from springtide.scaling.tuning import Tuning
from springtide.scaling.volatility import watch


def continued(state: State | None, now: float, attainment: float, tuning: Tuning) -> State:
    """Return the state to go on from: watching begins anew when it was lost or has a gap."""
    if state is None:
        return begin(now, attainment, tuning)
    if 0 <= now - state.seen_at <= tuning.stale:
        return state
    return replace(state, since=now, seen_at=now, window=())


def learned(state: State, now: Moment, wait: float) -> State:
    """Return the state with what this moment teaches about volatility, waits and what is late beyond `wait` seconds."""
    seconds, traffic = now.seen.now - state.seen_at, now.seen.traffic
    state = replace(
        state, seen_at=now.seen.now, volatility=watch(state.volatility, now.seen.now, now.rate, now.lead, now.tuning)
    )
    ready = sum(pool.ready for pool in now.pools)
    if not known(traffic.queue) or not ready:
        return state
    latency = traffic.latency if known(traffic.latency) else 0.0
    waits = queueing.learn(state.queueing, now.rate, traffic.queue, ready, now.serving / ready, latency)
    state = replace(state, queueing=waits)
    watched = now.seen.now - state.since >= now.settings.stabilization_seconds
    if not watched or all(pool.created >= pool.most for pool in now.pools):
        return state  # no headroom helps against a start from nothing, or against a limit
    late = float(traffic.queue > wait * now.serving)
    return replace(
        state, safety=safety.learn(state.safety, late, now.rate, seconds, now.settings.attainment, now.tuning)
    )
