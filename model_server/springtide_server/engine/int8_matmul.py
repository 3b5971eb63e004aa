"""Products with 8-bit weights on a GPU, in Triton: the weights are read once, as they are.

With few rows a product takes as long as reading its weights, and these are half of bfloat16's. Tensor cores multiply
8 bits twice as fast as 16, which helps W8A8 with many rows as well. The tiles are the fastest of 50 to 190 each that
were tried on an H200 with the layers of Llama-3-8B.
"""

import math
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from springtide_server.engine import quantize


class Tile(NamedTuple):
    """What one program computes: `rows` by `outputs`, of which it reads `inputs` at once; `parts` share the inputs."""

    rows: int
    outputs: int
    inputs: int
    parts: int
    warps: int
    stages: int


# By the most rows. A single row is no work for tensor cores.
WEIGHT_ONLY = (
    (1, Tile(1, 4, 1024, 1, 4, 4)),
    (16, Tile(16, 32, 256, 1, 4, 5)),
    (64, Tile(64, 64, 128, 4, 4, 3)),
    (math.inf, Tile(128, 64, 64, 1, 4, 4)),
)
BOTH = (
    (1, Tile(1, 8, 1024, 1, 4, 2)),
    (16, Tile(16, 32, 256, 1, 4, 5)),
    (64, Tile(64, 64, 256, 1, 4, 5)),
    (256, Tile(64, 64, 128, 1, 4, 4)),
    (math.inf, Tile(128, 128, 128, 1, 8, 3)),
)


@triton.jit
def _float(weights):  # type: ignore[no-untyped-def]
    """As float32. 1.5 · 2²³ plus a small integer has that integer in its last bits: cheaper than a conversion."""
    return (weights.to(tl.int32) + 0x4B400000).to(tl.float32, bitcast=True) - 12582912.0


@triton.jit(do_not_specialize=["rows"])
def _product(  # type: ignore[no-untyped-def]
    x,
    weight,
    scale,
    steps,
    out,
    rows,
    outputs,
    inputs,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    INPUTS: tl.constexpr,
    PARTS: tl.constexpr,
    WHOLE: tl.constexpr,
    EIGHT: tl.constexpr,
):
    results = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    tokens = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    part = tl.program_id(2)
    # What is too much is computed from what exists, and not stored: cheaper than a mask.
    known, row = results % outputs, tokens % rows
    places = tl.arange(0, INPUTS)
    size = tl.cdiv(inputs, PARTS * INPUTS) * INPUTS
    begin = part * size
    end = tl.minimum(begin + size, inputs)
    w_at = weight + known[:, None].to(tl.int64) * inputs + places[None]
    x_at = x + row[None].to(tl.int64) * inputs + places[:, None]
    if ROWS == 1:
        sums = tl.zeros([OUTPUTS, INPUTS], tl.float32)
    else:
        sums = tl.zeros([OUTPUTS, ROWS], tl.int32 if EIGHT else tl.float32)
    for start in range(begin, end, INPUTS):
        if WHOLE:
            w, a = tl.load(w_at + start), tl.load(x_at + start)
        else:
            inside = places < end - start
            w = tl.load(w_at + start, mask=inside[None], other=0)
            a = tl.load(x_at + start, mask=inside[:, None], other=0)
        if ROWS == 1:
            sums += _float(w) * tl.trans(a).to(tl.float32)
        elif EIGHT:
            sums = tl.dot(w, a, sums, out_dtype=tl.int32)
        else:
            sums = tl.dot(w.to(a.dtype), a, sums, input_precision="ieee")
    result = tl.sum(sums, 1)[:, None] if ROWS == 1 else sums.to(tl.float32)
    result *= tl.load(scale + known)[:, None]
    if EIGHT:
        result *= tl.load(steps + row)[None]
    place = (part * rows + tokens[None]).to(tl.int64) * outputs + results[:, None]
    tl.store(out + place, result.to(out.dtype.element_ty), mask=(results < outputs)[:, None] & (tokens < rows)[None])


@triton.jit
def _rounded(x, tokens, steps, inputs, TINY: tl.constexpr, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    row, places = tl.program_id(0).to(tl.int64), tl.arange(0, SIZE)
    inside = places < inputs
    values = tl.load(x + row * inputs + places, mask=inside, other=0).to(tl.float32)
    step = tl.div_rn(tl.maximum(tl.max(tl.abs(values), 0), TINY), 127.0)
    scaled = tl.div_rn(values, step) + 12582912.0 - 12582912.0  # 1.5 · 2²³ leaves no bits for a fraction
    tl.store(tokens + row * inputs + places, scaled.to(tl.int8), mask=inside)
    tl.store(steps + row, step)


def weight_only(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x·weightᵀ·scale [rows, out] of x [rows, in], int8 [out, in] and float32 [out]."""
    result: Tensor = torch.ops.springtide.int8_matmul(x, weight, scale)
    return result


def both(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """The same of x rounded to 8 bits, each row with its own scale."""
    if torch.compiler.is_compiling():  # which fuses these operators with those before
        steps = quantize.steps(x)
        tokens = quantize.rounded(x.float() / steps)
    else:
        tokens = torch.empty(x.shape, dtype=torch.int8, device=x.device)
        steps = torch.empty((len(x), 1), dtype=torch.float32, device=x.device)
        size = triton.next_power_of_2(x.shape[1])
        _rounded[(len(x),)](x.contiguous(), tokens, steps, x.shape[1], TINY=quantize.TINY, SIZE=size)
    result: Tensor = torch.ops.springtide.w8a8_matmul(tokens, steps, weight, scale, x.dtype)
    return result


@torch.library.custom_op("springtide::int8_matmul", mutates_args=())
def int8_matmul(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """`weight_only`, opaque to torch.compile."""
    return _launch(x, weight, scale, None, x.dtype)


@torch.library.custom_op("springtide::w8a8_matmul", mutates_args=())
def w8a8_matmul(tokens: Tensor, steps: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Of int8 tokens [rows, in] and their float32 scales [rows, 1], opaque to torch.compile."""
    return _launch(tokens, weight, scale, steps, dtype)


@int8_matmul.register_fake
def _(x: Tensor, weight: Tensor, *_rest: Any) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0])


@w8a8_matmul.register_fake
def _(tokens: Tensor, steps: Tensor, weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return tokens.new_empty(tokens.shape[0], weight.shape[0], dtype=dtype)


def _launch(x: Tensor, weight: Tensor, scale: Tensor, steps: Tensor | None, dtype: torch.dtype) -> Tensor:
    rows, inputs = x.shape
    outputs = weight.shape[0]
    tile = next(tile for most, tile in (WEIGHT_ONLY if steps is None else BOTH) if rows <= most)
    split = tile.parts > 1
    out = torch.empty((tile.parts, rows, outputs), dtype=torch.float32 if split else dtype, device=x.device)
    grid = triton.cdiv(outputs, tile.outputs), triton.cdiv(rows, tile.rows), tile.parts
    _product[grid](
        x.contiguous(), weight, scale, scale if steps is None else steps, out, rows, outputs, inputs,
        ROWS=tile.rows, OUTPUTS=tile.outputs, INPUTS=tile.inputs, PARTS=tile.parts, WHOLE=inputs % tile.inputs == 0,
        EIGHT=steps is not None, num_warps=tile.warps, num_stages=tile.stages,
    )  # fmt: skip
    return out.sum(0).to(dtype) if split else out[0]
