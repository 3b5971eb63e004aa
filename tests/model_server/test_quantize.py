"""Linear layers with 8-bit weights, on random matrices. Bounds follow from rounding, not from what was seen."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from springtide_server.engine import quantize as module
from springtide_server.engine.accuracy import (
    TEXTS,
    check_outputs,
    check_weights,
    cosine_drop,
    perplexity_drop,
    surprises,
)
from springtide_server.engine.lower import lower
from springtide_server.engine.quantize import Choice, Int8Linear, quantize, quantized
from springtide_server.errors import ModelError
from springtide_server.precision import Outcome, PrecisionPolicy, Quantised

CPU = torch.device("cpu")
KERNELS = [kernel for precision in ("INT8", "W8A8") for kernel in module._kernels(precision, CPU)]
# Of the largest activation: how far a kernel's activations may be from the true ones.
ROUNDING = {"int8pack": 2**-8, "dequantise": 1e-6, "int_mm": 0.5 / 127, "fbgemm": 1.0 / 127}


def layer(inputs: int, outputs: int, bias: bool = True, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(inputs, outputs, bias)


@settings(max_examples=50, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), scale=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_weights_are_off_by_half_a_step(rows: int, columns: int, scale: float, seed: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * scale
    weight[0] = 0  # an output that nothing leads to
    integers, scales = quantized(weight)
    assert integers.dtype == torch.int8 and scales.shape == (rows,)
    assert int(integers.abs().max()) <= 127  # the same in both directions
    error = (integers.float() * scales.unsqueeze(1) - weight).abs()
    assert bool((error <= scales.unsqueeze(1) * 0.501).all())


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("rows", [1, 3, 16, 17, 70])
def test_kernels_differ_from_the_true_product_by_rounding_only(kernel: module.Kernel, rows: int) -> None:
    original, x = layer(96, 40), torch.randn(rows, 2, 96)
    x[0] *= 1000  # one token's size must not hurt the others
    x[-1, -1] = 0
    with torch.inference_mode():
        given, true = Int8Linear(original, Choice(((math.inf, kernel),)))(x), original(x)
    assert given.shape == true.shape and given.dtype == x.dtype
    # Each product is off by half a step of its weight, and by what its activation was rounded.
    steps = quantized(original.weight.detach())[1]
    weights = x.abs().sum(-1, keepdim=True) * steps / 2
    activations = (
        x.abs().amax(-1, keepdim=True) * ROUNDING[kernel.name] * (original.weight.abs() + steps.unsqueeze(1)).sum(1)
    )
    rounded = 2**-7 * true.abs() if kernel.name == "int8pack" else 0  # it gives its result in bfloat16
    assert bool(((given - true).abs() <= 1.01 * (weights + activations + rounded) + 1e-4).all())


@pytest.mark.parametrize("precision", ["INT8", "W8A8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_any_module_is_quantised_but_for_its_head(precision: Quantised, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(64, 128), nn.Sequential(nn.GELU(), nn.Linear(128, 64, bias=False)))
    model.add_module("lm_head", nn.Linear(64, 10))
    model.to(dtype)
    x = torch.randn(5, 64, dtype=dtype)
    with torch.inference_mode():
        before = model(x)
        quantize(model, precision)
        after = model(x)
    kinds = [type(one) for one in model.modules() if not list(one.children())]
    assert kinds == [Int8Linear, nn.GELU, Int8Linear, nn.Linear]
    assert after.dtype == dtype
    assert 0 < float((after - before).norm() / before.norm()) < 0.05


def test_a_tokens_result_does_not_depend_on_the_others() -> None:
    """With one scale for all tokens, as torch's own dynamic quantisation has, a large one would drown the rest."""
    model = nn.Sequential(layer(64, 64))
    quantize(model, "W8A8")
    token, large = torch.randn(1, 64), 1e4 * torch.randn(1, 64)
    with torch.inference_mode():
        alone, beside = model(token), model(torch.cat([token, large]))[:1]
    assert float((alone - beside).norm() / alone.norm()) < 0.03


def test_a_kernel_that_is_missing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: Any) -> Any:
        raise NotImplementedError("no kernel for this device")

    def kernels(*arguments: Any) -> list[module.Kernel]:
        return [module.Kernel("gone", missing, module._as_it_is), *left]

    left = [KERNELS[1]]
    monkeypatch.setattr(module, "_kernels", kernels)
    assert quantize(nn.Sequential(layer(8, 8)), "INT8") == Choice(((math.inf, KERNELS[1]),))
    left.clear()
    with pytest.raises(ValueError, match="no kernel for INT8 works on cpu"):
        quantize(nn.Sequential(layer(8, 8)), "INT8")


def test_a_module_without_linear_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="no linear layer"):
        quantize(nn.Sequential(nn.Embedding(4, 4)), "INT8")


def test_drops() -> None:
    vectors = torch.eye(3)
    assert cosine_drop(vectors, 5 * vectors) == pytest.approx(0, abs=1e-6)
    assert cosine_drop(vectors, vectors.roll(1, 0)) == pytest.approx(1)
    assert cosine_drop(vectors, vectors * math.nan) == math.inf
    nats = torch.tensor([1.0, 2.0])
    assert perplexity_drop(nats, nats + math.log(1.5)) == pytest.approx(0.5)
    assert perplexity_drop(nats, nats - 1) == 0
    assert perplexity_drop(nats, nats + math.inf) == math.inf


def test_surprises_are_of_the_next_token() -> None:
    chances = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [1 / 3] * 3])
    measured = surprises(lambda row: chances[: len(row)].log())([[0, 1, 2], [0]])
    assert measured.exp().tolist() == pytest.approx([4, 1.25])


def test_the_sample_is_what_it_says() -> None:
    assert len(TEXTS) == len(set(TEXTS)) == 40
    assert all(20 < len(text) < 100 for text in TEXTS)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_no_numbers_are_named(bad: float) -> None:
    model = nn.Sequential(nn.Embedding(3, 4), layer(4, 4))
    check_weights(model, Path("m"), "FP16")
    model.get_parameter("1.weight").data[2, 3] = bad
    with pytest.raises(ModelError, match=r"m: the tensor 1\.weight holds NaN or infinity in FP16"):
        check_weights(model, Path("m"), "FP16")


def test_results_that_are_no_numbers_are_refused() -> None:
    check_outputs(torch.ones(2), Path("m"), "FP16")
    with pytest.raises(ModelError, match="m computes NaN or infinity in FP16; use --precision BF16 or FP32"):
        check_outputs(torch.tensor([1, math.inf]), Path("m"), "FP16")


def lowered(policy: PrecisionPolicy) -> Outcome:
    """Of a layer whose every output has one weight so large that the others round to nothing."""
    wrecked = nn.Sequential(layer(64, 64))
    wrecked.get_parameter("0.weight").data[:, 0] = 1e4
    x = torch.randn(32, 64, generator=torch.Generator().manual_seed(1))
    x[:, 0] = 0  # and it is never used

    def measure() -> torch.Tensor:
        with torch.inference_mode():
            return torch.as_tensor(wrecked(x))

    return lower(Path("m"), wrecked, "INT8", policy, "FP32", measure, cosine_drop)


def test_a_wrecked_model_falls_back() -> None:
    outcome = lowered(PrecisionPolicy("INT8"))
    assert (outcome.asked, outcome.used) == ("INT8", "FP32")
    assert outcome.drop is not None and outcome.drop > 0.1


def test_a_wrecked_model_is_refused_where_there_is_no_fallback() -> None:
    with pytest.raises(ModelError, match=r"m loses .* % of its accuracy in INT8, more than 1 %; use --precision FP32"):
        lowered(PrecisionPolicy("INT8", fallback="None"))


def test_a_wrecked_model_is_taken_where_that_is_allowed() -> None:
    assert lowered(PrecisionPolicy("INT8", max_drop_percent=100)).used == "INT8"


GPU_KERNELS = """
import torch
from springtide_server.engine import int8_matmul
from springtide_server.engine.quantize import _dequantise, _int_mm, quantized

torch.manual_seed(0)
for inputs, outputs in [(96, 40), (1024, 65), (600, 128)]:
    for rows in (1, 3, 16, 17, 70, 300):
        weight, x = quantized(torch.randn(outputs, inputs)), torch.randn(rows, inputs)
        x[0] *= 1000
        x[-1] = 0
        for ours, other in ((int8_matmul.weight_only, _dequantise), (int8_matmul.both, _int_mm)):
            found, wanted = ours(x, *weight), other(x, *weight)
            assert found.dtype == wanted.dtype and found.shape == wanted.shape
            assert ((found - wanted).abs() <= 1e-5 * (x.abs().sum(1, keepdim=True) + 1)).all(), (ours, inputs, rows)
"""


def test_the_gpu_kernels_give_what_torch_gives() -> None:
    """In Triton's interpreter, which runs them on a CPU."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", GPU_KERNELS], env=environment, check=True, timeout=300)
