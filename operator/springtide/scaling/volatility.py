"""How much traffic moves while a replica loads, measured without a forecast."""

from dataclasses import dataclass, replace
from math import log, sqrt

from springtide.scaling.tuning import Tuning

_LONGEST = 15
# Half a request a minute: the log of a rate that may be 0.
_SMALL = 1 / 120


@dataclass(frozen=True)
class Volatility:
    """Second moments of the log ratio of mean rates a lead apart: `fast` forgets in half an hour, `slow` in hours.

    `minutes` are the mean rates of the last whole minutes, the newest last; `total` and `count` belong to `minute`,
    which is in Unix minutes and not over.
    """

    fast: float
    slow: float
    minute: int = 0
    total: float = 0.0
    count: int = 0
    minutes: tuple[float, ...] = ()


def unknown(tuning: Tuning) -> Volatility:
    """Return what is assumed of a service that was never seen."""
    return Volatility(tuning.prior**2, tuning.prior**2)


def watch(before: Volatility, now: float, rate: float, lead: float, tuning: Tuning) -> Volatility:
    """Take one more sample of the rate; `lead` is in seconds."""
    minute = int(now // 60)
    if minute == before.minute:
        return replace(before, total=before.total + rate, count=before.count + 1)
    minutes = (*before.minutes, before.total / before.count)[-_LONGEST - 1 :] if before.count else ()
    if minute != before.minute + 1:
        minutes = ()  # a gap, or a clock that jumped: ratios across it mean nothing
    after = replace(before, minute=minute, total=rate, count=1, minutes=minutes)
    lag = min(max(round(lead / 60), 1), _LONGEST)
    if len(minutes) <= lag:
        return after
    # Only rises can leave a service short; twice their square stands for both directions.
    rise = max(log((minutes[-1] + _SMALL) / (minutes[-1 - lag] + _SMALL)), 0.0)
    moment = 2 * rise * rise
    return replace(
        after,
        fast=before.fast + (1 - 0.5 ** (1 / tuning.fast)) * (moment - before.fast),
        slow=before.slow + (1 - 0.5 ** (1 / tuning.slow)) * (moment - before.slow),
    )


def spread(volatility: Volatility) -> float:
    """Return the standard deviation of the log ratio that is to be reckoned with."""
    return sqrt(max(volatility.fast, volatility.slow))
