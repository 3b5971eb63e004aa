"""The number format that a model runs in, and what is done when one costs too much accuracy."""

from dataclasses import dataclass
from typing import Literal

Plain = Literal["FP32", "BF16", "FP16"]
Quantised = Literal["INT8", "W8A8"]
"""INT8: weights of 8 bits. W8A8: activations of 8 bits as well, with a scale for each token."""
Precision = Literal["Auto", "FP32", "BF16", "FP16", "INT8", "W8A8"]
Fallback = Literal["Auto", "None"]


@dataclass(frozen=True)
class PrecisionPolicy:
    """What is asked for. `fallback` is what follows a drop of accuracy beyond the limit: Auto, or no start at all."""

    asked: Precision = "Auto"
    max_drop_percent: float = 1
    fallback: Fallback = "Auto"
    compile: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of it. `drop` is a quantised model's loss of accuracy, as a ratio; None where none was tried."""

    asked: Precision
    used: Plain | Quantised
    drop: float | None
