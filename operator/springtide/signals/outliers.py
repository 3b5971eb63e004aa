"""One pod that lies: a value of another order than what its peers say and than what a replica can do."""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

# A pod of equal replicas behind one balancer that has ten times its peers' load is odd, but it may be true: connections
# that are kept open pin clients to pods. Ten times what a replica can do is not.
TIMES = 10.0
# Where nobody knows what a replica can do, only what can hardly be true is doubted.
BLIND_TIMES = 100.0
_VOTERS = 2


@dataclass(frozen=True)
class Trimmed:
    """The values to count, and the pods that were not believed."""

    values: Mapping[str, float]
    outliers: tuple[str, ...] = ()


def trim(values: Mapping[str, float], voters: Collection[str], typical: float | None) -> Trimmed | None:
    """Return the values by pod with those made small that can't be true; None when it can't be told what is true.

    `voters` are the pods whose word counts against another: they must have been ready for as long as a rate looks back,
    since in a pool that has just grown one busy pod among idle new ones is no liar. `typical` is what one replica has
    at its capacity, None when unknown.

    | typical | a pod is doubted when it says more than | then it counts as |
    |---|---|---|
    | known | 10 times typical and the median of its peers | the larger of the two, if alone and two peers vote |
    | known | the same, but two pods do, or no two peers vote | 10 times that |
    | unknown | 100 times the median of its peers, two or more, not all idle | nothing: the signal is not known |
    | unknown | (no two peers vote, or they are idle) | what it says |

    So a lie can cost what ten replicas can do at most, and the truth of a pod that is pinned to busy clients is never
    taken for idleness.
    """
    if typical is not None and max(values.values(), default=0.0) <= TIMES * typical:
        return Trimmed(values)
    votes = sorted(values[pod] for pod in voters if pod in values)
    norms = {pod: _peers(votes, value if pod in voters else None) for pod, value in values.items()}
    if typical is None:
        liars = [
            pod for pod, value in values.items() if (norms[pod] or 0.0) and value > BLIND_TIMES * (norms[pod] or 0.0)
        ]
        return Trimmed(values) if not liars else None
    bounds = {pod: max(norm or 0.0, typical) for pod, norm in norms.items()}
    liars = [pod for pod, value in values.items() if value > TIMES * bounds[pod]]
    alone = len(liars) == 1 and norms[liars[0]] is not None
    believed = {pod: bounds[pod] * (1.0 if alone else TIMES) for pod in liars}
    return Trimmed({**values, **believed}, tuple(liars))


def _peers(votes: Sequence[float], own: float | None) -> float | None:
    """Return the lower median of the sorted votes without one's own; None when fewer than two are left."""
    left = len(votes) - (own is not None)
    if left < _VOTERS:
        return None
    middle = (left - 1) // 2
    return votes[middle + (own is not None and bisect_left(votes, own) <= middle)]
