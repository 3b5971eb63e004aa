"""Which replicas may go: those whose load the others can take, after a full window and while none loads."""

from collections.abc import Mapping

from springtide.scaling.demand import backlog
from springtide.scaling.moment import Moment
from springtide.scaling.state import State


def remove(
    grown: Mapping[str, int], down: Mapping[str, int], now: Moment, state: State, wait: float
) -> tuple[dict[str, int], str]:
    """Return the targets with what may go gone, and why more is held than is needed, or an empty string.

    `grown` are the targets that nothing was removed from, `down` what the window maximum asks for.
    """
    targets, why = dict(grown), ""
    surplus = {pool.name: min(grown[pool.name] - down[pool.name], pool.held - down[pool.name]) for pool in now.pools}
    surplus = {name: count for name, count in surplus.items() if count > 0}
    if not surplus:
        return targets, ""
    if kept := _watching(now, state):
        return targets, kept
    # The dearest goes first: what is left is what would be bought.
    for pool in sorted((pool for pool in now.pools if pool.name in surplus), key=lambda pool: pool.price, reverse=True):
        if any(age < now.patience for age in pool.loading):
            # Kubernetes removes what is not Ready first, and what loads would be wanted again soon.
            why = f"a replica of pool {pool.name} loads, none is removed before it is ready"
            continue
        count = surplus[pool.name]
        while count and not _survives(targets | {pool.name: targets[pool.name] - count}, now, wait):
            count -= 1
        targets[pool.name] -= count
        if not count:
            why = f"the replicas that are left in pool {pool.name} could not take over its load"
    return targets, why


def _watching(now: Moment, state: State) -> str:
    if not any(pool.ready for pool in now.pools) and any(pool.created for pool in now.pools):
        return "no replica is ready, so none is removed"
    left = now.settings.stabilization_seconds - (now.seen.now - state.since)
    return f"the service was watched for too short a time: {left:.0f} s are missing" if left > 0 else ""


def _survives(targets: Mapping[str, int], now: Moment, wait: float) -> bool:
    """Tell whether requests wait at most `wait` seconds a lead from now, with only the ready ones that are left."""
    ready = sum(max(pool.ready - max(pool.created - targets[pool.name], 0), 0) * pool.capacity for pool in now.pools)
    waiting, _ = backlog(now.queue, now.rate, ready, (), now.lead)
    return waiting <= wait * ready
