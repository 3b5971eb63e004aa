"""Rows of different lengths side by side instead of padded to the longest: nothing is computed for padding.

The model gets one row of all tokens; only the attention knows where one row ends. It is known to transformers by NAME,
and gets what it needs as `packed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from springtide_server.engine.attention import HARMLESS, has_varlen, varlen_attention

NAME = "springtide_packed"


@dataclass
class Packed:
    """The rows' lengths, in their order."""

    lengths: Sequence[int]
    starts: torch.Tensor | None
    """[rows + 1] int32, where `varlen_attention` works."""

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, dtype: torch.dtype) -> "Packed":
        """For a model on that device."""
        starts = None
        if has_varlen(device, dtype):
            starts = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        return cls(lengths, starts)


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Queries [1, heads, tokens, size], keys and values [1, key heads, tokens, size] → [1, tokens, heads, size].

    Raises ValueError for a kind of attention that this isn't.
    """
    packed: Packed = options.pop("packed")
    strange = sorted(name for name, one in options.items() if one is not None and name not in HARMLESS)
    if strange:
        raise ValueError(f"the model's attention needs {', '.join(strange)}")
    scale, causal = options.get("scaling"), bool(getattr(module, "is_causal", False))
    if packed.starts is not None:
        q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
        longest = max(packed.lengths)
        return varlen_attention(q, k, v, packed.starts, packed.starts, longest, longest, scale, causal)[None], None
    out = torch.empty_like(query.transpose(1, 2))
    start = 0
    for length, group in groupby(packed.lengths):  # rows of one length are computed together
        count = len(list(group))
        end = start + count * length
        shape = (-1, count, length, query.shape[-1])
        q, k, v = (one[0, :, start:end].reshape(shape).transpose(0, 1) for one in (query, key, value))
        found = scaled_dot_product_attention(
            q, k, v, is_causal=causal, scale=scale, enable_gqa=q.shape[1] != k.shape[1]
        )
        out[0, start:end] = found.transpose(1, 2).flatten(0, 1)
        start = end
    return out, None


AttentionInterface.register(NAME, attend)
