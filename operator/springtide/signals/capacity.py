"""What one replica can do, learned while the service runs.

The capacity that a user writes is the prior. It is corrected by moments near saturation only: what an idle replica does
tells nothing of what it could do. A moment moves the estimate, on a logarithmic scale, by 1/(weight + 1) of its
distance, and a distance counts as no more than that of two thirds or one and a half times the estimate: the recursive
estimate of a location with Huber's bound (P. Huber, Robust Estimation of a Location Parameter, 1964). The weight grows
by 1 with each moment up to MEMORY, so that what was learned is forgotten slowly, and only while there is something new
to learn.
"""

import math
from dataclasses import dataclass, replace

from springtide.signals.values import Signals

# Moments that count: half an hour near saturation, at four a minute.
MEMORY = 120.0
# How many moments a prior is worth: two minutes near saturation.
PRIOR_WEIGHT = 8.0
# A prior is not wrong by more than this, so that no series of odd moments leads further astray.
PRIOR_TIMES = 10.0
_STEP = math.log(1.5)
# Requests that wait per replica, and the time that they wait, which tell that a replica has no room. With batching one
# or two wait at any load.
_QUEUED = 1.0
_QUEUE_SECONDS = 0.5
_HIGH_USE = 0.9
# A replica that does so much more than it was said to be able to is at its capacity, or not even there.
_EXCESS = 1.1


@dataclass(frozen=True)
class Capacity:
    """Of one replica, a second: `estimate` and the `prior` that it began with, None where unknown.

    `weight` is the number of moments that the estimate rests on.
    """

    estimate: float | None = None
    prior: float | None = None
    weight: float = 0.0


def begin(prior: float | None) -> Capacity:
    """Return what is known before anything was seen."""
    return Capacity(prior, prior, PRIOR_WEIGHT if prior else 0.0)


def renew(known: Capacity, prior: float | None, *, new_revision: bool) -> Capacity:
    """Return what is left when the user wrote another capacity, or when another revision runs.

    Another prior starts anew. Of another revision, what was learned is no more than a prior.
    """
    if prior != known.prior:
        return begin(prior)
    return replace(known, weight=min(known.weight, PRIOR_WEIGHT)) if new_revision else known


def learn(known: Capacity, signals: Signals) -> Capacity:
    """Return what is known after a moment; the same where it teaches nothing.

    Nothing is learned from signals in doubt, from pods that are new, or where nothing was done: servers that hang say
    nothing of what they can do.
    """
    done = signals.served
    whole = signals.settled == signals.ready > 0 and not signals.doubts
    if not whole or done is None or done.value <= 0.0:
        return known
    rate = done.value / signals.ready
    exceeded = known.estimate is not None and rate > _EXCESS * known.estimate
    if not (exceeded or near_saturation(signals)):
        return known
    if known.estimate is None:
        return replace(known, estimate=rate, weight=1.0)
    distance = max(-_STEP, min(_STEP, math.log(rate / known.estimate)))
    estimate = known.estimate * math.exp(distance / (known.weight + 1.0))
    if known.prior is not None:
        estimate = max(known.prior / PRIOR_TIMES, min(known.prior * PRIOR_TIMES, estimate))
    return replace(known, estimate=estimate, weight=min(known.weight + 1.0, MEMORY))


def near_saturation(signals: Signals) -> bool:
    """Tell whether the replicas have no room: requests wait for half a second, or a GPU or the KV cache is full."""
    queue = signals.queue.value if signals.queue else 0.0
    served = signals.served.value if signals.served else 0.0
    waits = queue > 0.0 and queue >= max(_QUEUED * signals.ready, _QUEUE_SECONDS * served)
    return waits or any(use is not None and use.value >= _HIGH_USE for use in (signals.gpu, signals.kv))
