"""What a lower precision costs, and weights that are broken: the same text through a model before and after.

The text is sample.txt, forty lines of everyday prose, instructions, numbers, some code and two other languages.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from springtide_server.errors import ModelError

TEXTS = tuple(Path(__file__).with_name("sample.txt").read_text(encoding="utf-8").splitlines())
Measure = Callable[[Sequence[Sequence[int]]], Tensor]
"""Rows of tokens → what two precisions are compared by: `cosine_drop` or `perplexity_drop` says of what shape."""
ROWS = 8  # at once: the memory that this takes is to stay below that of serving


def vectors(embed: Callable[[Sequence[Sequence[int]]], list[bytes]]) -> Measure:
    """A measure of encoders: the vectors [rows, size] that `embed` gives, float32."""

    def measure(rows: Sequence[Sequence[int]]) -> Tensor:
        parts = [embed(rows[start : start + ROWS]) for start in range(0, len(rows), ROWS)]
        return torch.stack([torch.frombuffer(bytearray(one), dtype=torch.float32) for part in parts for one in part])

    return measure


def surprises(logits: Callable[[Sequence[int]], Tensor]) -> Measure:
    """A measure of language models: -ln of each token's probability after those before it, [tokens less rows].

    `logits` gives [tokens, vocabulary] for a row of tokens.
    """

    def measure(rows: Sequence[Sequence[int]]) -> Tensor:
        long = [row for row in rows if len(row) > 1]
        with torch.inference_mode():
            parts = [nn.functional.cross_entropy(*_shifted(logits(row), row), reduction="none") for row in long]
        return torch.cat(parts).cpu()

    return measure


def _shifted(logits: Tensor, row: Sequence[int]) -> tuple[Tensor, Tensor]:
    return logits[:-1].float(), torch.tensor(row[1:], device=logits.device)


def cosine_drop(before: Tensor, after: Tensor) -> float:
    """1 less the mean cosine of the vectors [rows, size]; infinite where one is no number."""
    return _drop(1 - float(nn.functional.cosine_similarity(before, after).mean()))


def perplexity_drop(before: Tensor, after: Tensor) -> float:
    """By how much of itself the perplexity grows, for surprises [tokens]; infinite where one is no number."""
    return _drop(float((after.mean() - before.mean()).exp()) - 1)


def _drop(value: float) -> float:
    return max(0.0, value) if value == value else float("inf")


def check_weights(module: nn.Module, folder: Path, precision: str) -> None:
    """Raise ModelError for a tensor that holds NaN or infinity: its answers would be noise, or errors."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.numel() and not _is_finite(tensor):
            raise ModelError(
                f"{folder}: the tensor {name} holds NaN or infinity in {precision}; copy the model again, or use "
                "--precision FP32 if it is only too large"
            )


def _is_finite(tensor: Tensor) -> bool:
    # NaN passes through both, and no copy is made.
    return all(bool(bound.isfinite()) for bound in tensor.aminmax())


def check_outputs(outputs: Tensor, folder: Path, precision: str) -> None:
    """Raise ModelError for results that hold NaN or infinity though the weights don't: the format is too narrow."""
    if not outputs.isfinite().all():
        raise ModelError(f"{folder} computes NaN or infinity in {precision}; use --precision BF16 or FP32")
