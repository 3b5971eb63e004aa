"""Headroom that learns from what was late: the same share of requests misses the objective whatever the traffic is.

The one step is that of adaptive conformal inference (Gibbs and Candès, Adaptive Conformal Inference Under Distribution
Shift, NeurIPS 2021): a miss widens by much, every minute without one narrows by little, and the two balance where as
many requests are late as may be.
"""

from dataclasses import dataclass

from springtide.scaling.tuning import Tuning

_DAY = 86400.0
_HEAVIEST = 4.0


@dataclass(frozen=True)
class Safety:
    """`factor` widens (> 1) or narrows the headroom of a quantile; `load` is the mean rate of about a day."""

    factor: float
    load: float = 0.0


def learn(before: Safety, late: float, rate: float, seconds: float, attainment: float, tuning: Tuning) -> Safety:
    """Take the share of requests that were late, at a rate, for some seconds."""
    load = before.load + (rate - before.load) * min(seconds / _DAY, 1.0) if before.load else rate
    # Attainment counts requests, not minutes: a busy minute weighs more.
    weight = min(rate / load, _HEAVIEST) if load > 0 else 0.0
    allowed = tuning.budget * (1 - attainment)
    factor = before.factor + tuning.learning * weight * seconds / 60 * (late - allowed)
    return Safety(min(max(factor, tuning.least_safety), tuning.most_safety), load)
