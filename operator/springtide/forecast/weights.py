"""How much each member counts, learned on line from its exponentially discounted pinball loss.

Losses are kept as ratios to the last value's over the same minutes, per group of horizons, apart for the median and for
the quantiles above it: who knows the middle best need not know the risk best.
"""

import numpy as np

from springtide.forecast.horizon import GROUPS, LEVELS, STEPS, Array, to_rates

_MEMORY = np.float32(1 - 1 / (6 * 60 / np.log(2)))  # half of the weight after six hours
_SHARPNESS = 40.0  # a member whose loss is 5 % above the best one's weighs exp(-2) of it
_TOO_BAD = 1.2  # times the last value's loss
_PRIOR = 60.0  # minutes that the first guess of a ratio counts as

_LEVELS = np.array(LEVELS, dtype=np.float32)
_PARTS = np.array([[1, 0], [0, 1], [0, 1], [0, 1], [0, 1]], dtype=np.float32)
_GROUPS = np.zeros((STEPS, len(GROUPS)), dtype=np.float32)
for _group, _steps in enumerate(GROUPS):
    _GROUPS[list(_steps), _group] = 1 / len(_steps)


def row(members: int) -> dict[str, Array]:
    """Return the state of a new service."""
    shape = (members, len(GROUPS), _PARTS.shape[1])
    return {name: np.zeros(shape, dtype=np.float32) for name in ("loss", "loss_last", "loss_minutes")}


def pinball(quantiles: Array, truth: Array) -> Array:
    """Return the loss of quantiles [..., LEVELS] of a truth [...]."""
    over = truth[..., None] - quantiles
    return np.asarray(np.maximum(_LEVELS * over, (_LEVELS - 1) * over))


def update_weights(state: dict[str, Array], issued: Array, truth: Array) -> None:
    """Learn from a minute: `issued` is [services, members, STEPS, LEVELS], the last value first; `truth` [services]."""
    losses = pinball(to_rates(issued), to_rates(truth)[:, None, None])
    each = np.einsum("nmsl,lp,sg->nmgp", losses, _PARTS, _GROUPS)
    both = np.isfinite(each) & np.isfinite(each[:, :1])
    last = np.broadcast_to(each[:, :1], each.shape)
    for name, loss in (("loss", each), ("loss_last", last), ("loss_minutes", np.ones_like(each))):
        state[name] = np.where(both, _MEMORY * state[name] + loss, state[name]).astype(np.float32)


def weigh(state: dict[str, Array], usable: Array, prior: Array) -> Array:
    """Return weights [services, members, STEPS, LEVELS]: 1 in all over the members, 0 where none is usable.

    `usable` is [services, members]; `prior` [members], the ratio to the last value's loss to begin with.
    """
    unit = _PRIOR * state["loss_last"] / np.maximum(state["loss_minutes"], 1) + np.float32(1e-9)
    ratio = (state["loss"] + prior[:, None, None] * unit) / (state["loss_last"] + unit)
    good = usable[:, :, None, None] & (ratio <= _TOO_BAD)
    best = np.min(np.where(good, ratio, np.inf), axis=1, keepdims=True)
    weight = np.where(good, np.exp(-_SHARPNESS * np.where(good, ratio - best, 0)), 0)
    weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), np.float32(1e-9))
    # each step has the weights of its group, each level those of its part
    return np.asarray(np.einsum("nmgp,lp,sg->nmsl", weight, _PARTS, (_GROUPS > 0).astype(np.float32)))
