"""Attention of single tokens over a paged KV cache, in Triton: reads each block where it lies.

The sequence is cut into `splits` pieces, so that few sequences fill a GPU as well; a second kernel puts the pieces
together (flash-decoding, Dao et al. 2023). Query heads that share a key head are the rows of one product.
"""

from typing import Any

import torch
import triton
import triton.language as tl

TILE = 64  # tokens at once
ROWS = 16  # least rows of a product on tensor cores
PROGRAMS = 528  # four for each multiprocessor of a large GPU


@triton.jit
def _pieces(  # type: ignore[no-untyped-def]
    query,
    keys,
    values,
    tables,
    lengths,
    sums,
    logs,
    scale,
    width,
    HEADS: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    SIZE: tl.constexpr,
    PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
    SPLITS: tl.constexpr,
    TILE: tl.constexpr,
):
    one, head, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    length = tl.load(lengths + one).to(tl.int32)
    piece = tl.cdiv(tl.cdiv(length, SPLITS), TILE) * TILE
    begin = split * piece
    end = tl.minimum(begin + piece, length)
    rows, columns, places = tl.arange(0, ROWS), tl.arange(0, PADDED), tl.arange(0, TILE)
    inside = (rows[:, None] < GROUP) & (columns[None] < SIZE)
    at = (one * HEADS * GROUP + head * GROUP + rows[:, None]) * SIZE + columns[None]
    q = tl.load(query + at, mask=inside, other=0.0)
    most = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    result = tl.zeros([ROWS, PADDED], tl.float32)
    for start in range(begin, end, TILE):
        place = start + places
        known = place < end
        block = tl.load(tables + one * width + place // BLOCK, mask=known, other=0).to(tl.int64)
        slot = (block * BLOCK + place % BLOCK) * HEADS + head
        there = slot[:, None] * SIZE + columns[None]
        use = known[:, None] & (columns[None] < SIZE)
        k = tl.load(keys + there, mask=use, other=0.0)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        scores = tl.where(known[None], scores, float("-inf"))
        larger = tl.maximum(most, tl.max(scores, 1))
        weights = tl.exp(scores - larger[:, None])
        shrink = tl.exp(most - larger)
        v = tl.load(values + there, mask=use, other=0.0)
        result = result * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision="ieee")
        total = total * shrink + tl.sum(weights, 1)
        most = larger
    here = (one * HEADS * GROUP + head * GROUP + rows) * SPLITS + split
    empty = begin >= end
    divisor = tl.where(empty, 1.0, total)
    tl.store(sums + here[:, None] * SIZE + columns[None], result / divisor[:, None], mask=inside)
    tl.store(logs + here, tl.where(empty, float("-inf"), most + tl.log(divisor)), mask=rows < GROUP)


@triton.jit
def _together(  # type: ignore[no-untyped-def]
    sums, logs, out, SIZE: tl.constexpr, PADDED: tl.constexpr, SPLITS: tl.constexpr
):
    row = tl.program_id(0)
    pieces, columns = tl.arange(0, SPLITS), tl.arange(0, PADDED)
    log = tl.load(logs + row * SPLITS + pieces)
    weight = tl.exp(log - tl.max(log, 0))
    at = (row * SPLITS + pieces[:, None]) * SIZE + columns[None]
    part = tl.load(sums + at, mask=columns[None] < SIZE, other=0.0)
    whole = tl.sum(part * weight[:, None], 0) / tl.sum(weight, 0)
    tl.store(out + row * SIZE + columns, whole, mask=columns < SIZE)


def paged_decode(
    query: torch.Tensor, cache: torch.Tensor, tables: torch.Tensor, lengths: torch.Tensor, block: int, scale: float
) -> torch.Tensor:
    """Attention of one token each, [sequences, heads, size]; its keys and values are in the cache already.

    The cache is [2, slots, key heads, size], the tables are [sequences, blocks], the lengths [sequences], at least 1.
    """
    query = query.contiguous()
    sequences, heads, size = query.shape
    key_heads = cache.shape[2]
    splits = 1
    while sequences * key_heads * splits < PROGRAMS and splits * TILE < tables.shape[1] * block and splits < 64:
        splits *= 2
    rows = sequences * heads
    sums = torch.empty((rows, splits, size), dtype=torch.float32, device=query.device)
    logs = torch.empty((rows, splits), dtype=torch.float32, device=query.device)
    out = torch.empty_like(query)
    group, padded = heads // key_heads, triton.next_power_of_2(size)
    common: dict[str, Any] = {"SIZE": size, "PADDED": padded, "SPLITS": splits}
    _pieces[(sequences, key_heads, splits)](
        query, cache[0], cache[1], tables, lengths, sums, logs, scale, tables.shape[1],
        HEADS=key_heads, GROUP=group, ROWS=max(ROWS, triton.next_power_of_2(group)), BLOCK=block, TILE=TILE, **common,
    )  # fmt: skip
    _together[(rows,)](sums, logs, out, **common)
    return out
