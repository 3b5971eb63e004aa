"""Fusing a model's small operators with torch.compile, one layer for all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SHAPES = 16  # that a layer may be compiled for before torch gives up


@contextmanager
def fused(model: Any) -> Iterator[None]:
    """Inside, the layers of the model run compiled; they are compiled at their first call.

    All layers have the same code, so one is compiled for all (regional compilation), once for a single token and once
    for any number. What was recorded inside stays fused.
    """
    names = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    torch._dynamo.config.recompile_limit = max(SHAPES, torch._dynamo.config.recompile_limit)
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
