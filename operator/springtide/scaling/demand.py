"""How many requests a second a service must be able to serve, by what is measured now."""

from collections.abc import Iterable
from math import exp, nan
from statistics import NormalDist, median

from springtide.scaling.belief import known
from springtide.scaling.observed import Traffic
from springtide.scaling.tuning import Tuning

# One scrape that is so many times the median of the last ones is taken to be that: a counter that jumped, a pod that
# lies.
_OUTLIER = 3.0
# Logs of what headroom multiplies a rate by, at least and at most. Less than 1 is right where a queue is short for all
# that comes in a burst; what jumps by more than the most can't be covered by replicas that wait for it.
_NARROWEST, _WIDEST = -0.1, 1.0
_NORMAL = NormalDist()


def rate_of(traffic: Traffic, tuning: Tuning) -> float:
    """Return the arrivals a second of about the last minute; NaN when no scrape of it is known."""
    rates = [rate for rate in traffic.rates[-tuning.smoothing :] if known(rate)]
    if not rates or not 0 <= traffic.age <= tuning.stale:
        return nan
    most = _OUTLIER * median(rates)
    # A service that slept has a median of 0, and its first requests are no lie.
    return sum(min(rate, most) for rate in rates) / len(rates) if most else sum(rates) / len(rates)


def headroom(spread: float, level: float, safety: float) -> float:
    """Return the factor that covers the rise of the rate within a lead, at a level in thousandths, with no forecast."""
    return exp(min(max(safety * max(_NORMAL.inv_cdf(level / 1000), 0.0) * spread, _NARROWEST), _WIDEST))


def backlog(
    queue: float, rate: float, capacity: float, loading: Iterable[tuple[float, float]], horizon: float
) -> tuple[float, float]:
    """Return the requests that will wait at the horizon, and the capacity then.

    `loading` are (seconds until Ready, capacity) of replicas that are on their way: what they will serve is asked for
    once.
    """
    at = 0.0
    for seconds, more in sorted(loading):
        if seconds >= horizon:
            break
        queue = max(queue + (rate - capacity) * (seconds - at), 0.0)
        at, capacity = seconds, capacity + more
    return max(queue + (rate - capacity) * (horizon - at), 0.0), capacity


def drain(waiting: float, capacity: float, wait: float, seconds: float) -> float:
    """Return the capacity beyond the rate that serves a backlog within so many seconds.

    What waits for less than half of what is allowed is no backlog. No backlog asks for more than twice what there is.
    """
    excess = max(waiting - wait * capacity / 2, 0.0)
    return min(excess / seconds, capacity) if capacity > 0 else excess / seconds
