"""Which pools give the capacity that is needed: the cheapest first."""

from collections.abc import Iterable
from math import ceil

from springtide.scaling.moment import Pool

# So much of a replica may be missing without one more: sums of floats are not exact.
_CRUMB = 1e-6


def allocate(need: float, pools: Iterable[Pool]) -> tuple[dict[str, int], float]:
    """Return the replicas of each pool that give `need` requests a second, and what is lacking at all limits.

    Each has its least; then pools are filled by cost per capacity, fallback pools after all others, pools without a
    cost after those with one.
    """
    pools = list(pools)
    replicas = {one.name: one.least for one in pools}
    lacking = need - sum(one.least * one.capacity for one in pools)
    for one in sorted(pools, key=lambda one: one.price):
        if lacking <= 0:
            break
        more = ceil(min(max(lacking / one.capacity - _CRUMB, 0.0), one.most - one.least))
        replicas[one.name] += more
        lacking -= more * one.capacity
    return replicas, lacking if lacking > _CRUMB * need else 0.0
