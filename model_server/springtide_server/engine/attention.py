"""Attention over a paged KV cache, for models of transformers: known there by NAME, it gets what it needs as `paged`.

A step is one row of tokens: first one token each of the sequences that write, then parts of prompts. Query heads that
share a key head are stacked as if they were tokens, so that keys and values are never repeated in memory.
"""

import functools
import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

try:
    from torch.nn.attention.varlen import varlen_attn

    VARLEN = frozenset(inspect.signature(varlen_attn).parameters)
except ImportError:
    VARLEN = frozenset()

log = logging.getLogger(__name__)

NAME = "springtide_paged"
# Arguments that models pass and that mean the same here; any other would change the result, and is refused.
HARMLESS = frozenset(
    {
        "dropout",
        "scaling",
        "is_causal",
        "position_ids",
        "use_cache",
        "output_attentions",
        "cache_position",
        "sliding_window",
    }
)


@dataclass
class Part:
    """A part of a prompt: tokens [start, end) of the row. `slots` are those of the sequence up to the part's end."""

    start: int
    end: int
    slots: torch.Tensor
    mask: torch.Tensor
    """[tokens of the part, slots]: which may be looked at."""


@dataclass
class Prompts:
    """All parts of prompts of a step on a GPU, one after the other."""

    slots: torch.Tensor
    """Of each part's sequence up to the part's end."""
    starts: torch.Tensor
    """[parts + 1] in the tokens, int32; and in the slots:"""
    slot_starts: torch.Tensor
    most: int
    """Tokens of the longest part; and slots:"""
    most_slots: int


@dataclass
class Paged:
    """A step, as the attention sees it. A slot is a token's place in the cache: block · size + offset."""

    slots: torch.Tensor
    """[tokens]: where the keys and values of the step go."""
    tables: torch.Tensor
    """[writers, blocks]: each writer's blocks, filled up with any."""
    lengths: torch.Tensor
    """[writers]: tokens of each, this one included."""
    size: int
    """Tokens of a block."""
    parts: list[Part]
    prompts: Prompts | None
    """The same as the parts where `varlen` works."""


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any, **options: Any
) -> tuple[torch.Tensor, None]:
    """Queries [1, heads, tokens, size], keys and values [1, key heads, tokens, size] → [1, tokens, heads, size].

    Raises ValueError for a kind of attention that this isn't.
    """
    paged: Paged = options.pop("paged")
    scale = options.get("scaling")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    strange = sorted(name for name, one in options.items() if one is not None and name not in HARMLESS)
    if strange:
        raise ValueError(f"the model's attention needs {', '.join(strange)}")
    cache = module.kv_cache  # [2, slots, key heads, head size]; set by KVCache.bind
    if not paged.parts and paged.prompts is None:
        step = paged.slots, paged.tables, paged.lengths, paged.size
        return torch.ops.springtide.write_one(query[0], key[0], value[0], cache, *step, scale)[None], None
    cache[0].index_copy_(0, paged.slots, key[0].transpose(0, 1))
    cache[1].index_copy_(0, paged.slots, value[0].transpose(0, 1))
    query = query[0].transpose(0, 1)
    out = torch.empty_like(query)
    writers = len(paged.lengths)
    if writers:
        out[:writers] = decode(query[:writers], cache, paged.tables, paged.lengths, paged.size, scale)
    if paged.prompts is not None:
        out[writers:] = varlen(query[writers:], cache, paged.prompts, scale)
    for part in paged.parts:
        out[part.start : part.end] = prefill(query[part.start : part.end], cache, part, scale)
    return out[None], None


@torch.library.custom_op("springtide::write_one", mutates_args=["cache"])
def write_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cache: torch.Tensor,
    slots: torch.Tensor,
    tables: torch.Tensor,
    lengths: torch.Tensor,
    block: int,
    scale: float,
) -> torch.Tensor:
    """A step in which all write, whole: opaque to torch.compile. Heads first: [heads, tokens, size] → [tokens, ...]."""
    cache[0].index_copy_(0, slots, key.transpose(0, 1))
    cache[1].index_copy_(0, slots, value.transpose(0, 1))
    return decode(query.transpose(0, 1), cache, tables, lengths, block, scale)


@write_one.register_fake
def _(query: torch.Tensor, *_rest: Any) -> torch.Tensor:
    return query.new_empty(query.shape[1], query.shape[0], query.shape[2])


def decode(
    query: torch.Tensor, cache: torch.Tensor, tables: torch.Tensor, lengths: torch.Tensor, block: int, scale: float
) -> torch.Tensor:
    """One token each, [writers, heads, size], over all of its sequence."""
    writers, heads, size = query.shape
    if query.is_cuda and (kernel := decode_kernel()):
        return kernel(query, cache, tables, lengths, block, scale)
    key_heads = cache.shape[2]
    blocks = cache.view(2, -1, block, key_heads, size)
    keys, values = (
        blocks[kind].index_select(0, tables.flatten()).view(writers, -1, key_heads, size).transpose(1, 2)
        for kind in (0, 1)
    )
    mask = torch.arange(keys.shape[2], device=query.device) < lengths[:, None]
    stacked = query.view(writers, key_heads, heads // key_heads, size)
    out = scaled_dot_product_attention(stacked, keys, values, attn_mask=mask[:, None, None], scale=scale)
    return out.reshape(writers, heads, size)


def prefill(query: torch.Tensor, cache: torch.Tensor, part: Part, scale: float) -> torch.Tensor:
    """Several tokens of one sequence, [tokens, heads, size], over all before each."""
    tokens, heads, size = query.shape
    key_heads = cache.shape[2]
    keys, values = (cache[kind].index_select(0, part.slots).transpose(0, 1)[None] for kind in (0, 1))
    group = heads // key_heads
    stacked = query.view(tokens, key_heads, group, size).permute(1, 2, 0, 3).reshape(1, key_heads, group * tokens, size)
    out = scaled_dot_product_attention(stacked, keys, values, attn_mask=part.mask.repeat(group, 1), scale=scale)
    return out.view(key_heads, group, tokens, size).permute(2, 0, 1, 3).reshape(tokens, heads, size)


@functools.cache
def decode_kernel() -> Callable[..., torch.Tensor] | None:
    """`paged_decode`, None where it can't be compiled; to be asked on machines with a GPU."""
    try:
        from springtide_server.engine.paged_decode import paged_decode

        cache, tables = torch.zeros(2, 16, 1, 64, device="cuda"), torch.zeros(1, 1, device="cuda", dtype=torch.int32)
        paged_decode(cache[0, :1], cache, tables, torch.ones(1, device="cuda", dtype=torch.long), 16, 1.0)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        log.warning("no kernel for paged attention: is gcc installed?", extra={"fields": {"reason": reason}})
        return None
    return paged_decode


def has_varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether `varlen` works: on GPUs, for what flash attention knows."""
    return device.type == "cuda" and dtype in (torch.float16, torch.bfloat16) and "window_size" in VARLEN


def varlen(query: torch.Tensor, cache: torch.Tensor, prompts: Prompts, scale: float) -> torch.Tensor:
    """Several tokens of each of several sequences, [tokens, heads, size], over all before each."""
    keys, values = (cache[kind].index_select(0, prompts.slots) for kind in (0, 1))
    bounds = prompts.starts, prompts.slot_starts, prompts.most, prompts.most_slots
    return varlen_attention(query, keys, values, *bounds, scale, causal=True)


def varlen_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    starts: torch.Tensor,
    key_starts: torch.Tensor,
    most: int,
    most_keys: int,
    scale: float | None,
    causal: bool,
) -> torch.Tensor:
    """Rows one after the other: queries [tokens, heads, size], keys and values [tokens, key heads, size]."""
    options: dict[str, Any] = {"enable_gqa": True}
    if "enable_gqa" not in VARLEN:  # before torch 2.12
        group = query.shape[1] // keys.shape[1]
        keys, values, options = keys.repeat_interleave(group, 1), values.repeat_interleave(group, 1), {}
    window = (-1, 0) if causal else (-1, -1)
    found = varlen_attn(
        query, keys, values, starts, key_starts, most, most_keys, scale=scale, window_size=window, **options
    )
    return found  # type: ignore[return-value]


AttentionInterface.register(NAME, attend)
