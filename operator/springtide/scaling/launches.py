"""What people announced, as rates of requests."""

from math import ceil, isnan, nan

from springtide.scaling.floor import doubt
from springtide.scaling.outlook import STEP, Outlook, middle, steps
from springtide.scaling.statements import Launch, Statement, Verdict
from springtide.scaling.tuning import Tuning

# What is expected when a launch begins is recorded from so many seconds ahead, and again when it moved by so much.
_RECORDED_AHEAD = 3600.0
_MOVED = 0.1
# No decision looks further than this: seconds.
_HORIZON = 86400.0
_MOST = 1e9  # requests a second


def expected(one: Statement, launch: Launch, outlook: Outlook | None, now: float, rate: float, tuning: Tuning) -> float:
    """Return the rate that a launch multiplies, in requests a second; NaN where it is not known or not needed.

    It is the median of the forecast at the launch's start, where one that can be believed reaches so far, else the
    rate now. Once the launch has begun it is what was recorded before, since what is measured and forecast then has
    the launch in it; only of one that was announced too late for that it is the rate now.
    """
    if isnan(launch.times) or launch.start - now > _RECORDED_AHEAD:
        return one.baseline
    if now >= launch.start:
        return rate if isnan(one.baseline) and one.created >= launch.start else one.baseline
    fresh = rate
    if outlook is not None and launch.start < outlook.until and not doubt(outlook, now, now, rate, tuning.doubt):
        fresh = middle(outlook, steps(outlook, launch.start, launch.start)[0])
    same = isnan(fresh) or abs(fresh - one.baseline) <= _MOVED * one.baseline
    return one.baseline if same else fresh


def announced(
    one: Statement, launch: Launch, now: float, ahead: float, baseline: float
) -> tuple[Outlook | None, Verdict]:
    """Return what a launch asks for from now on, None for nothing, and what became of it.

    It counts from `ahead` seconds before it begins. `baseline` is what it multiplies; see `expected`.
    """
    if now >= launch.end:
        return None, Verdict(False, "Expired", "it is over", one.baseline)
    if launch.start > now + ahead:
        message = "it has not begun; replicas are started ahead of it, so as to be ready then"
        return None, Verdict(False, "NotStarted", message, baseline)
    rate, message = launch.rate, "replicas are kept for what it says"
    if isnan(rate):
        if isnan(baseline):
            return None, _unknown(one, launch, now)
        if not baseline:
            message = "nothing was expected when it begins, and a multiple of nothing is nothing: say requestsPerSecond"
            return None, Verdict(False, "NothingExpected", message, baseline)
        rate = min(baseline * launch.times, _MOST)
        message = f"replicas are kept for {launch.times:g} times what was expected when it begins"
    begin = max(launch.start, now)
    count = ceil((min(launch.end, begin + _HORIZON) - begin) / STEP)
    return Outlook(begin, (500,), ((rate,),) * count, bounded=False), Verdict(True, "Used", message, baseline)


def _unknown(one: Statement, launch: Launch, now: float) -> Verdict:
    if now < launch.start or one.created >= launch.start:
        return Verdict(False, "RateUnknown", "metrics don't tell the rate that it multiplies; say requestsPerSecond")
    message = (
        "it has begun, and what was expected then is not recorded: what is measured now may have the launch in it; "
        "say requestsPerSecond"
    )
    return Verdict(False, "BaselineLost", message, nan)
