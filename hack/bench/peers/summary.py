"""What the rounds come to. Pure: numbers in, numbers out.

All servers are measured in each round, one after the other, so that a busy machine is busy for all. Ratios are taken
within a round, and their median over the rounds counts.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hack.bench.peers.catalog import OURS


@dataclass(frozen=True)
class Round:
    """One server, one workload, one round. Rates are requests a second."""

    capacity: float
    goodput: float
    best_seen: float
    """The most answers in time a second, in any of its trials."""
    p50_ms: float
    p99_ms: float
    """At 70 % of the best peer's capacity."""
    cpu_ms_per_answer: float
    valid: bool


Rounds = Mapping[str, Sequence[Round]]


def table(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return a server's medians and its rounds."""
    used = _valid(rounds)
    return {
        "capacity_per_second": _median([one.capacity for one in used]),
        "goodput_per_second": _median([one.goodput for one in used]),
        "p50_ms_at_70_percent": _median([one.p50_ms for one in used]),
        "p99_ms_at_70_percent": _median([one.p99_ms for one in used]),
        "cpu_ms_per_answer": _median([one.cpu_ms_per_answer for one in used]),
        "valid_rounds": sum(one.valid for one in rounds),
        "rounds": [
            {
                "capacity_per_second": round(one.capacity, 2),
                "goodput_per_second": round(one.goodput, 2),
                "p99_ms_at_70_percent": round(one.p99_ms, 2),
                "valid": one.valid,
            }
            for one in rounds
        ],
    }


def best_peer(rounds: Rounds, value: str, lowest: bool = False) -> str | None:
    """Return the peer whose median is the best; None where no peer was measured."""
    found = {
        name: statistics.median(getattr(one, value) for one in _valid(own))
        for name, own in rounds.items()
        if name != OURS and own
    }
    return (min if lowest else max)(found, key=found.__getitem__) if found else None


def ratio(rounds: Rounds, value: str, lowest: bool = False) -> float | None:
    """Return ours to that peer's, the median over the rounds; None without a peer or where the peer's is 0."""
    peer = best_peer(rounds, value, lowest)
    if peer is None or not rounds.get(OURS):
        return None
    pairs = [(mine, other) for mine, other in zip(rounds[OURS], rounds[peer], strict=True)]
    good = [(mine, other) for mine, other in pairs if mine.valid and other.valid] or pairs
    ratios = [getattr(mine, value) / getattr(other, value) for mine, other in good if getattr(other, value)]
    return _median(ratios) if ratios else None


def overload_fraction(overload: Mapping[str, Any], rounds: Sequence[Round]) -> float | None:
    """Return the goodput under overload as a part of the most that was seen at any rate below."""
    peak = max((one.best_seen for one in rounds), default=0.0)
    return round(overload["goodput_per_second"] / peak, 4) if peak else None


def _valid(rounds: Sequence[Round]) -> Sequence[Round]:
    """The valid ones; all where none is, and then `valid_rounds` says so."""
    return [one for one in rounds if one.valid] or rounds


def _median(values: Sequence[float]) -> float:
    return round(statistics.median(values), 4)
