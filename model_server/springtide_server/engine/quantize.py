"""Linear layers with 8-bit weights: what they compute, and which of torch's kernels does it fastest here.

Weights are symmetric integers with a scale for each output. INT8 computes with activations as they are; W8A8 turns each
token's activations into 8 bits as well. Several kernels are private to torch or exist on some devices only, so each is
looked up, tried on a layer of the model and timed; one that is missing or fails is left out.
"""

import ctypes
import logging
import math
import time
import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from springtide_server.precision import Quantised

HIGHEST = 127
TINY = 1e-12  # instead of a scale of 0
TIMED_ROWS = {"cpu": (1, 16, 256), "cuda": (1, 16, 64, 256, 2048)}
TIMED_SECONDS = 0.1  # for each kernel and number of rows
# torch._int_mm on CUDA: more than 16 rows, both sides of the weights a multiple of 8.
CUDA_ROWS, CUDA_MULTIPLE = 17, 8
CUDA_CACHES = 1 << 27  # bytes, more than any GPU's
# FBGEMM without VNNI adds two products in 16 bits, which activations of 7 bits can't overflow.
REDUCE_RANGE = not getattr(torch.cpu, "_is_vnni_supported", bool)()

# glibc keeps what was freed between the new weights, as much as the model itself; other C libraries have no such call.
TRIM: Callable[[int], object] = getattr(ctypes.CDLL(None), "malloc_trim", lambda keep: 0)

log = logging.getLogger(__name__)
Packed = tuple[Any, ...]


@dataclass(frozen=True)
class Kernel:
    """`run` gives x·weightᵀ [rows, out] for x [rows, in] and what `pack` made of weight [out, in] and scale [out]."""

    name: str
    run: Callable[..., Tensor]
    pack: Callable[[Tensor, Tensor], Packed]


@dataclass(frozen=True)
class Choice:
    """Which kernel computes so many rows: the first whose limit they don't exceed. All share a form of weights."""

    limits: tuple[tuple[float, Kernel], ...]

    def kernel(self, rows: int) -> Kernel:
        """For so many rows."""
        return next(kernel for limit, kernel in self.limits if rows <= limit)

    def __str__(self) -> str:
        return ", ".join(f"{kernel.name} to {limit:g} rows" for limit, kernel in self.limits)


class Int8Linear(nn.Module):
    """In the place of an nn.Linear, of which it keeps the bias."""

    def __init__(self, linear: nn.Linear, choice: Choice) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._choice = choice
        packed = choice.limits[0][1].pack(*quantized(linear.weight.detach()))
        # Tensors become buffers, which move with the model; FBGEMM's own form of weights is no tensor.
        self._parts = [f"part{number}" for number in range(len(packed))]
        for name, part in zip(self._parts, packed, strict=True):
            if isinstance(part, Tensor):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    @property
    def nbytes(self) -> int:
        """Of weights, scales and bias."""
        bias = 0 if self.bias is None else self.bias.nbytes
        return self.in_features * self.out_features + 4 * self.out_features + bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] → [..., out], in x's dtype."""
        rows = x.reshape(-1, self.in_features)
        kernel = self._choice.kernel(rows.shape[0])
        result = kernel.run(rows, *(getattr(self, name) for name in self._parts))
        if self.bias is not None:
            result = result + self.bias
        return result.reshape(*x.shape[:-1], self.out_features)


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(int8 [out, in], float32 scales [out]): the largest magnitude of each output's weights becomes 127."""
    scale = weight.abs().amax(1).float().clamp(min=TINY) / HIGHEST
    return rounded(weight.float() / scale.unsqueeze(1)), scale


def quantize(
    module: nn.Module, precision: Quantised, skip: Collection[str] = ("lm_head",), compiled: bool = False
) -> Choice:
    """Replace the module's nn.Linear layers in place, one after the other, so that each one's weights are freed.

    `skip` are last parts of names: the head makes small differences of logits, and its weights are often the
    embedding's too. `compiled` leaves out what torch.compile can't do. Returns the kernels that were chosen; raises
    ValueError where there is no layer to replace.
    """
    start = time.monotonic()
    found = [place for place in _linears(module, skip) if _fits(place[2], precision)]
    if not found:
        raise ValueError("no linear layer can be quantised")
    choice = _choose(max((layer for _, _, layer in found), key=lambda layer: layer.weight.numel()), precision, compiled)
    before = sum(layer.weight.nbytes for _, _, layer in found)
    count, after = len(found), 0
    while found:
        parent, name, layer = found.pop()
        replacement = Int8Linear(layer, choice)
        setattr(parent, name, replacement)
        after += replacement.nbytes
        del layer
        TRIM(0)
    fields = {"precision": precision, "layers": count, "bytes_before": before, "bytes": after, "kernels": str(choice)}
    log.info("quantised", extra={"fields": {**fields, "seconds": round(time.monotonic() - start, 2)}})
    return choice


def _linears(module: nn.Module, skip: Collection[str]) -> Iterable[tuple[nn.Module, str, nn.Linear]]:
    for parent in module.modules():
        for name, layer in parent.named_children():
            if type(layer) is nn.Linear and name not in skip:
                yield parent, name, layer


def _fits(layer: nn.Linear, precision: Quantised) -> bool:
    if precision == "INT8" or layer.weight.device.type != "cuda":
        return True
    return layer.in_features % CUDA_MULTIPLE == 0 and layer.out_features % CUDA_MULTIPLE == 0


def _choose(layer: nn.Linear, precision: Quantised, compiled: bool) -> Choice:
    """The fastest form of the weights, and for that the fastest kernel by rows, measured on this layer."""
    weight, scale = quantized(layer.weight.detach())
    timed_rows = TIMED_ROWS[layer.weight.device.type]
    forms: dict[Any, list[list[tuple[float, Kernel]]]] = {}
    for kernel in _kernels(precision, layer.weight.device, compiled):
        try:
            packed = kernel.pack(weight, scale)
            times = [_seconds(kernel, packed, layer.weight.new_ones(rows, layer.in_features)) for rows in timed_rows]
        except Exception as error:  # private kernels and compilers fail in any way
            reason = str(error).partition("\n")[0]
            log.info("kernel left out", extra={"fields": {"kernel": kernel.name, "reason": reason}})
            continue
        timed = {str(rows): round(seconds * 1e3, 3) for rows, seconds in zip(timed_rows, times, strict=True)}
        log.info("kernel timed", extra={"fields": {"kernel": kernel.name, "milliseconds_by_rows": timed}})
        forms.setdefault(kernel.pack, []).append([(seconds, kernel) for seconds in times])
    if not forms:
        raise ValueError(f"no kernel for {precision} works on {layer.weight.device.type}")
    fastest = [
        [min(each, key=lambda pair: pair[0]) for each in zip(*kernels, strict=True)] for kernels in forms.values()
    ]
    best = [kernel for _, kernel in min(fastest, key=lambda form: sum(seconds for seconds, _ in form))]
    limits = [*timed_rows[:-1], math.inf]
    kept = [
        pair for number, pair in enumerate(zip(limits, best, strict=True)) if best[number : number + 2] != [pair[1]] * 2
    ]
    return Choice(tuple(kept))


def _seconds(kernel: Kernel, packed: Packed, x: Tensor) -> float:
    """The fastest of some runs; on CUDA without the time that launching takes, as the engine records its steps."""

    def run() -> float:
        start = time.perf_counter()
        compute()
        if x.is_cuda:
            torch.cuda.synchronize(x.device)
        return time.perf_counter() - start

    compute: Callable[[], object] = partial(kernel.run, x, *packed)
    with torch.inference_mode():
        if x.is_cuda:
            compute = _recorded(compute)
        first = run()  # allocates, and on CUDA loads code
        best, end = math.inf, time.perf_counter() + TIMED_SECONDS
        while best == math.inf or time.perf_counter() < end - first:
            best = min(best, run())
    return best


def _recorded(compute: Callable[[], object]) -> Callable[[], object]:
    """A step of the engine reads each weight once, so what the GPU's caches keep of them is overwritten before."""
    others = torch.empty(CUDA_CACHES, dtype=torch.uint8, device="cuda")
    compute()  # compiles kernels, which can't be recorded
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        others.zero_()
        compute()
    return graph.replay


def _kernels(precision: Quantised, device: torch.device, compiled: bool = False) -> list[Kernel]:
    kernels = _triton(precision) if device.type == "cuda" else []
    if precision == "INT8":
        if not compiled:
            kernels.append(Kernel("int8pack", _int8pack, _as_it_is))
        return [*kernels, Kernel("dequantise", _dequantise, _as_it_is)]
    if device.type == "cpu":
        kernels.append(Kernel("fbgemm", _fbgemm, _prepack))
    return [*kernels, Kernel("int_mm", _int_mm, _as_it_is)]


def _triton(precision: Quantised) -> list[Kernel]:
    try:
        from springtide_server.engine import int8_matmul
    except ImportError:  # torch for CPUs alone has no Triton
        return []
    return [Kernel("triton", int8_matmul.weight_only if precision == "INT8" else int8_matmul.both, _as_it_is)]


def _as_it_is(weight: Tensor, scale: Tensor) -> Packed:
    return weight, scale


def _dequantise(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    # The scale comes last: a matrix of the weights' size is written once rather than twice, or by torch.compile never.
    return nn.functional.linear(x, weight.to(x.dtype)) * scale.to(x.dtype)


def _int8pack(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    half = torch.bfloat16  # for float32 there is no vectorised kernel
    result: Tensor = torch.ops.aten._weight_int8pack_mm(x.to(half), weight, scale.to(half))
    return result.to(x.dtype)


def _int_mm(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    step = steps(x)
    tokens = rounded(x.float() / step)
    missing = CUDA_ROWS - x.shape[0]
    if x.is_cuda and missing > 0:
        tokens = nn.functional.pad(tokens, (0, 0, 0, missing))
    products = torch._int_mm(tokens, weight.t())[: x.shape[0]]
    return (products.float() * step * scale).to(x.dtype)


def _prepack(weight: Tensor, scale: Tensor) -> Packed:
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    with warnings.catch_warnings():  # that torch will drop such tensors: then this kernel is missing, and left out
        warnings.simplefilter("ignore", UserWarning)
        matrix = torch._make_per_channel_quantized_tensor(weight, scale.double(), zeros, 0)
    return (torch.ops.quantized.linear_prepack(matrix, None),)


def _fbgemm(x: Tensor, packed: Any) -> Tensor:
    # It takes one scale for all that it is given: with each token scaled to ±1 before, that is one for each token.
    step = steps(x) * HIGHEST
    result: Tensor = torch.ops.quantized.linear_dynamic(x.float() / step, packed, REDUCE_RANGE)
    return (result * step).to(x.dtype)


def steps(x: Tensor) -> Tensor:
    """Of each token's activations [rows, 1], float32."""
    return x.abs().amax(1, keepdim=True).float().clamp(min=TINY) / HIGHEST


def rounded(x: Tensor) -> Tensor:
    """To int8."""
    return x.round().clamp(-HIGHEST, HIGHEST).to(torch.int8)
