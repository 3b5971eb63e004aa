"""The KV cache's tensors, and how large they may be."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from springtide_server.engine.blocks import Copy

BLOCK = 16
"""Tokens of a block."""


@dataclass(frozen=True)
class Shape:
    """What one token takes."""

    layers: int
    heads: int
    size: int
    dtype: torch.dtype

    @classmethod
    def of(cls, config: Any, dtype: torch.dtype) -> "Shape":
        """From a model's configuration."""
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        return cls(config.num_hidden_layers, heads, size, dtype)

    @property
    def token_bytes(self) -> int:
        """Keys and values of a token in all layers."""
        return 2 * self.layers * self.heads * self.size * self.dtype.itemsize


class KVCache:
    """Keys and values: for each layer [2, slots, key heads, head size]. The last block takes what nobody reads.

    `host` more blocks are in the host's memory, pinned where there is a GPU: [layers, 2, slots of a block, ...] each.
    """

    def __init__(self, shape: Shape, blocks: int, host: int, device: torch.device) -> None:
        self.size, self.trash = BLOCK, blocks
        whole = (shape.layers, 2, (blocks + 1) * BLOCK, shape.heads, shape.size)
        self._device = _zeros(whole, shape.dtype, device)
        self.layers = self._device.unbind()
        self._host = torch.empty(
            (host, shape.layers, 2, BLOCK, shape.heads, shape.size),
            dtype=shape.dtype,
            pin_memory=device.type == "cuda" and host > 0,
        )

    def bind(self, model: Any) -> None:
        """Give each attention of the model its layer's part."""
        for module in model.modules():
            if hasattr(module, "layer_idx") and hasattr(module, "k_proj"):
                module.kv_cache = self.layers[module.layer_idx]

    def move(self, copy: Copy) -> None:
        """Copy a block to the host or back; on a GPU in the order of its stream."""
        here, host = self._device.narrow(2, copy.block * BLOCK, BLOCK), self._host[copy.slot]
        if copy.to_host:
            host.copy_(here, non_blocking=True)
        else:
            here.copy_(host, non_blocking=True)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros, since what a mask leaves out is still multiplied by 0, and may not be NaN."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # The kernel gives zeroed pages when they are first used: torch would use them all here.
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)
