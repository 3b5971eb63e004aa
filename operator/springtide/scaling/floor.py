"""What forecasts ask for: a floor under what live metrics do."""

from math import copysign, sqrt

from springtide.scaling.outlook import Outlook, fault, middle, quantile, steps

_EARLY = 60.0
_LITTLE = 1e-6
# Standard deviations of a minute's count, were it Poisson, that a measured rate may be off by chance.
_CHANCE = 3.0


def doubt(outlook: Outlook, now: float, start: float, rate: float, times: float) -> str:
    """Return why a forecast is not used, or an empty string.

    It must reach `start`, when a replica that is created now is Ready, and what it says of this minute must be within
    `times` of the measured rate, more where counts are small.
    """
    if wrong := fault(outlook):
        return wrong
    if outlook.issued > now + _EARLY:
        return "the forecast was issued in the future"
    if outlook.until <= max(start, now):
        return f"the forecast ended before what it is needed for: it is {now - outlook.issued:.0f} s old"
    step = steps(outlook, now, now)[0]
    slack = _chance(rate, middle(outlook, step))
    if middle(outlook, step) > times * rate + slack:
        return f"the forecast has {middle(outlook, step):.1f} requests a second for now, {rate:.1f} were measured"
    most = outlook.rates[step][-1]
    if rate > times * most + slack:
        return f"the forecast has {most:.1f} requests a second at most for now, {rate:.1f} were measured"
    return ""


def nowcast(outlook: Outlook, now: float, rate: float) -> float:
    """Return the factor that moves a forecast to the rate of about the last minute, which it may not have seen.

    Only what is no chance moves it.
    """
    mid = middle(outlook, steps(outlook, now, now)[0])
    apart = rate - mid
    certain = copysign(max(abs(apart) - _chance(rate, mid), 0.0), apart)
    return 1 + certain / mid if mid > _LITTLE else 1.0


def forecast(outlook: Outlook, start: float, end: float, level: float, safety: float) -> float:
    """Return the largest rate of [start, end] at a level in thousandths; `safety` widens what lies above the median."""
    most = 0.0
    for step in steps(outlook, start, end):
        high, mid = quantile(outlook, step, level), middle(outlook, step)
        most = max(most, mid * (high / mid) ** safety if mid > _LITTLE else high)
    return most


def expected(outlook: Outlook, start: float) -> float:
    """Return the largest median from `start` on."""
    return max(middle(outlook, step) for step in steps(outlook, start, outlook.until - 1))


def announced(outlooks: tuple[Outlook, ...], start: float, end: float, level: float) -> float:
    """Return the largest rate of [start, end] that people announced, by absolute time; 0 where nobody did."""
    valid = [one for one in outlooks if not fault(one) and one.issued < end and one.until > start]
    return max(
        (forecast(one, max(start, one.issued), min(end, one.until - 1), level, 1.0) for one in valid), default=0.0
    )


def _chance(rate: float, mid: float) -> float:
    return _CHANCE * sqrt(max(rate, mid) / 60)
