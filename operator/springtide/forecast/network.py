"""The LSTM's forward pass in numpy; `train` makes its weights, and checks that torch gives the same."""

from dataclasses import dataclass

import numpy as np

from springtide.forecast.features import Features
from springtide.forecast.horizon import LEVELS, STEPS, Array


@dataclass(frozen=True)
class Network:
    """One LSTM layer over patches of recent demand, a dense layer that also sees the context, and direct quantiles."""

    input: Array  # [4 hidden, inputs], gates in torch's order: input, forget, cell, output
    recurrent: Array  # [4 hidden, hidden]
    gate_bias: Array  # [4 hidden]
    dense: Array  # [dense, hidden + context]
    dense_bias: Array  # [dense]
    output: Array  # [STEPS * LEVELS, dense]
    output_bias: Array  # [STEPS * LEVELS]
    skip: Array  # [STEPS], how much of the last value's distance from the level remains, less 1


def run_network(network: Network, seen: Features) -> Array:
    """Return quantiles of the logarithm of demand, [rows, STEPS, LEVELS], ascending; NaN where `last` is."""
    hidden = _lstm(network, seen.patches)
    dense = np.tanh(np.concatenate([hidden, seen.context], axis=1) @ network.dense.T + network.dense_bias)
    outputs = (dense @ network.output.T + network.output_bias).reshape(-1, STEPS, len(LEVELS))
    # Each quantile is the one below it and a softplus, so they can't cross.
    steps = np.concatenate([outputs[:, :, :1], np.logaddexp(np.float32(0), outputs[:, :, 1:])], axis=2)
    # the last value is the newest input of the last patch, bounded as all inputs are
    kept = network.skip * seen.patches[:, -1, -2, None]
    relative = np.cumsum(steps, axis=2) + kept[:, :, None]
    return np.asarray(seen.last[:, None, None] + seen.scale[:, None, None] * relative, dtype=np.float32)


def _lstm(network: Network, patches: Array) -> Array:
    size = network.recurrent.shape[1]
    hidden = cell = np.zeros((len(patches), size), dtype=np.float32)
    for step in range(patches.shape[1]):
        # step by step: of all steps at once they are the largest array of all
        gates = patches[:, step] @ network.input.T + network.gate_bias + hidden @ network.recurrent.T
        opened = _sigmoid(gates[:, : 2 * size])
        cell = opened[:, size:] * cell + opened[:, :size] * np.tanh(gates[:, 2 * size : 3 * size])
        hidden = _sigmoid(gates[:, 3 * size :]) * np.tanh(cell)
    return hidden


def _sigmoid(values: Array) -> Array:
    # by tanh, which can't overflow
    return np.asarray(0.5 * np.tanh(0.5 * values) + 0.5)
