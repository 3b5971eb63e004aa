"""The capacity that a service needs, from measurements, its forecast and what was learned of it."""

from dataclasses import dataclass
from math import inf

from springtide.scaling.demand import backlog, drain, headroom
from springtide.scaling.floor import announced, doubt, expected, forecast, nowcast
from springtide.scaling.moment import Moment
from springtide.scaling.outlook import Outlook
from springtide.scaling.state import State
from springtide.scaling.volatility import spread

# A rate that is above this quantile, in thousandths, is one that the forecast did not see coming.
_SURPRISE = 990


@dataclass(frozen=True)
class Need:
    """Requests a second: replicas are started below `up`, none is removed that is part of `down`.

    `reactive` is what live metrics alone ask for, `floor` what the forecast does, `announced` what people did;
    `backlog` is the requests that will wait when a new replica could help. `doubt` says why the forecast was not used.
    """

    up: float
    down: float
    reactive: float
    floor: float
    announced: float
    backlog: float
    doubt: str


def need_of(now: Moment, state: State, wait: float) -> Need:
    """Return what is needed so that requests wait no longer than `wait` seconds."""
    waiting, capacity = backlog(now.queue, now.rate, now.serving, now.arriving, now.p50)
    extra = drain(waiting, capacity, wait, now.tuning.drain)
    level, safety = now.settings.level, state.safety.factor
    factor = headroom(spread(state.volatility), level, safety)
    # A peak that is over before a cold start is must not buy replicas without end.
    most = max(now.tuning.growth * now.serving, now.tuning.least_growth * max(pool.capacity for pool in now.pools))
    reactive = min(now.rate * factor + extra, max(most, now.serving))
    start, end = now.seen.now + now.p50, now.seen.now + now.lead
    said = people(now)
    alone = max(reactive, said)
    outlook, why = _outlook(now, start)
    if outlook is None:
        return Need(alone, alone, reactive, 0.0, said, waiting, why)
    # A bad forecast costs bounded money.
    most = now.tuning.surplus * reactive if outlook.bounded else inf
    shift = nowcast(outlook, now.seen.now, now.rate)
    floor = min(shift * forecast(outlook, start, end, level, safety), most)
    if why:
        return Need(alone, alone, reactive, floor, said, waiting, why)
    # A forecast that is right makes the headroom of live metrics needless; one that this very minute proves wrong does
    # not.
    surprise = now.rate > forecast(outlook, now.seen.now, now.seen.now, _SURPRISE, 1.0)
    live = reactive if surprise else min(now.rate * min(factor, 1.0) + extra, reactive)
    soon = min(shift * forecast(outlook, now.seen.now, end, level, safety), most)
    later = min(shift * expected(outlook, now.seen.now), most)
    up = max(live, floor, said)
    return Need(up, max(up, soon, later), reactive, floor, said, waiting, "")


def people(now: Moment) -> float:
    """Return the requests a second that people announced until a replica that is created now is Ready."""
    if now.settings.forecast == "Off":
        return 0.0
    return announced(now.seen.announced, now.seen.now, now.seen.now + now.lead, now.settings.level)


def _outlook(now: Moment, start: float) -> tuple[Outlook | None, str]:
    """Return the forecast if it can be read, and why it is not acted on."""
    outlook = now.seen.outlook
    if now.settings.forecast == "Off":
        return None, "forecasts are off"
    if outlook is None:
        return None, "there is no forecast"
    if why := doubt(outlook, now.seen.now, start, now.rate, now.tuning.doubt):
        return None, why
    return outlook, "forecasts are only observed" if now.settings.forecast == "Observe" else ""
