"""Whether a new model may replace the present one: only by being better on days that it hasn't learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from springtide.forecast.checkpoint import Checkpoint
from springtide.forecast.dataset import Rows
from springtide.forecast.horizon import Array
from springtide.forecast.network import Network, run_network
from springtide.forecast.ridge import solve
from springtide.forecast.weights import pinball


@dataclass(frozen=True)
class Verdict:
    """What the gate says of one part of a checkpoint; losses are relative to the last value's mean absolute error."""

    part: str  # "network" or "ridge"
    present: float
    candidate: float

    @property
    def promoted(self) -> bool:
        """Whether the candidate is better; one whose loss is NaN is not."""
        return self.candidate < self.present

    def __str__(self) -> str:
        word = "promoted" if self.promoted else "refused"
        return f"{self.part}: {word}, loss {self.candidate:.4f} against {self.present:.4f} of the present one"


def promote(present: Checkpoint, candidate: Checkpoint, held_out: Sequence[Rows]) -> tuple[Checkpoint, list[Verdict]]:
    """Return the better of each part, and why; `held_out` has the rows of one series each, all count the same."""
    network = Verdict("network", network_loss(present.network, held_out), network_loss(candidate.network, held_out))
    ridge = Verdict("ridge", ridge_loss(present, held_out), ridge_loss(candidate, held_out))
    chosen = replace(present, network=candidate.network) if network.promoted else present
    if ridge.promoted:
        chosen = replace(chosen, gram=candidate.gram, cross=candidate.cross)
    return chosen, [network, ridge]


def network_loss(network: Network, held_out: Sequence[Rows]) -> float:
    """Return the weighted pinball loss over all quantiles."""
    return _mean([_weighted(pinball(run_network(network, of.seen), of.following).mean(axis=2), of) for of in held_out])


def ridge_loss(checkpoint: Checkpoint, held_out: Sequence[Rows]) -> float:
    """Return the weighted absolute error of the common map."""
    learned = solve(checkpoint.gram, checkpoint.cross)
    losses = []
    for of in held_out:
        made = of.seen.last[:, None] + of.seen.scale[:, None] * (of.seen.linear @ learned)
        losses.append(_weighted(np.abs(made - of.following), of))
    return _mean(losses)


def _weighted(losses: Array, rows: Rows) -> float:
    return float((losses * rows.weight).mean())


def _mean(losses: list[float]) -> float:
    return float(np.mean(losses)) if losses else float("nan")
