"""How long requests wait at a utilisation: a formula with one number, which is learned on line."""

from dataclasses import dataclass, replace
from math import inf, log, sqrt

_FORGET = 0.01
_MOST = 20.0


@dataclass(frozen=True)
class QueueModel:
    """What was learned of the waits of a service.

    `variability` is (c_a² + c_s²) / 2 of arrivals and service, 1 for Poisson and exponential. `latency` is the P99 in
    seconds while nothing waits, 0 while none was seen.
    """

    variability: float = 1.0
    latency: float = 0.0


def shape(replicas: float, utilization: float) -> float:
    """Return the mean wait in service times of one replica, for a variability of 1; infinite from a utilisation of 1.

    Source: Sakasegawa, Ann. Inst. Statist. Math. 29 (1977).
    """
    if utilization >= 1 or replicas <= 0:
        return inf
    return float(utilization ** (sqrt(2 * (replicas + 1)) - 1) / (replicas * (1 - utilization)))


def learn(
    model: QueueModel, rate: float, queue: float, replicas: int, capacity: float, latency: float = 0.0
) -> QueueModel:
    """Take what was seen at once: the rate, the requests that wait, the ready replicas and what each serves.

    A service that is overloaded teaches nothing about variability, and an idle one neither.
    """
    if replicas <= 0 or capacity <= 0:
        return model
    utilization = rate / (replicas * capacity)
    if latency > 0 and queue < 1:
        model = replace(model, latency=latency if not model.latency else model.latency * 0.99 + latency * 0.01)
    if not 0.4 < utilization < 0.95:
        return model
    # Little's law: the mean wait is the queue over the rate.
    seen = min(queue / rate * capacity / shape(replicas, utilization), _MOST)
    return replace(model, variability=model.variability + _FORGET * (seen - model.variability))


def utilization(model: QueueModel, replicas: float, capacity: float, wait: float, attainment: float) -> float:
    """Return the highest utilisation at which the share `attainment` waits no longer than `wait` seconds.

    Waits are taken to be exponential beyond their mean. It is 0.1 at least, however short the wait.
    """
    allowed = wait * capacity / log(1 / (1 - attainment))
    low, high = 0.1, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        if model.variability * shape(replicas, middle) <= allowed:
            low = middle
        else:
            high = middle
    return low if low < 0.999 else 1.0


def allowed_wait(model: QueueModel, wait: float, latency: float) -> float:
    """Return how long requests may wait in seconds.

    Of an objective for the whole latency it is what an empty queue leaves, a twentieth at least; `wait` stands in while
    none was measured or where there is no such objective.
    """
    return max(latency - model.latency, latency / 20) if latency > 0 and model.latency else wait
