"""What a decision remembers for the next one: small, plain and safe to lose."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, log10

from springtide.scaling.queueing import QueueModel
from springtide.scaling.safety import Safety
from springtide.scaling.tuning import Tuning
from springtide.scaling.volatility import Volatility, unknown
from springtide.scaling.window import Window


@dataclass(frozen=True)
class State:
    """What was learned of one service.

    `since` is when watching began without a gap, and `seen_at` the last decision that had metrics, in Unix seconds.
    """

    since: float
    seen_at: float
    volatility: Volatility
    safety: Safety
    queueing: QueueModel
    window: Window = ()


# Of the objective where none is written. What was learned stands for a service's own.
_ATTAINMENT = 0.99


def begin(now: float, attainment: float, tuning: Tuning) -> State:
    """Return the state of a service of which nothing is remembered; it starts wider where fewer may be late."""
    nines = -log10(max(1 - attainment, 1e-9))
    return State(now, now, unknown(tuning), Safety(tuning.safety * max(nines - 1, 0.0)), QueueModel())


def lessons(state: State) -> dict[str, float]:
    """Return what is worth keeping when the state is lost: what took days to learn, not what was just seen."""
    return {
        "volatilityFast": state.volatility.fast,
        "volatilitySlow": state.volatility.slow,
        "safety": state.safety.factor,
        "load": state.safety.load,
        "variability": state.queueing.variability,
        "emptyLatencySeconds": state.queueing.latency,
    }


def resume(now: float, learned: Mapping[str, float], tuning: Tuning) -> State:
    """Return the state of a service that is watched from now on; what is missing or absurd is as if never learned."""
    fresh = begin(now, _ATTAINMENT, tuning)
    known = lessons(fresh) | {
        name: value for name, value in learned.items() if isfinite(value) and (value >= 0 or name == "safety")
    }
    safety = min(max(known["safety"], tuning.least_safety), tuning.most_safety)
    return replace(
        fresh,
        volatility=replace(fresh.volatility, fast=known["volatilityFast"], slow=known["volatilitySlow"]),
        safety=Safety(safety, known["load"]),
        queueing=QueueModel(known["variability"], known["emptyLatencySeconds"]),
    )
