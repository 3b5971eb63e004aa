"""Fusing a model's operators with torch.compile, before the server is ready: of a whole encoder, or of each layer."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from springtide_server.errors import ModelError

# What torch.compile starts: for CPUs it writes C++, for GPUs Triton writes a small C file.
COMPILERS = {"cpu": ("CXX", ("g++", "clang++")), "cuda": ("CC", ("gcc", "clang", "cc"))}
# Rows by tokens. torch.compile makes a variant of its own for a size of 1, and for each range of rows that a layer
# tells apart; these meet all of them, so that no request waits for a compiler.
SHAPES = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 16), (2, 16), (1, 64), (8, 64))

VARIANTS = 16  # of a layer that may be compiled before torch gives up


def check_compiler(device: str) -> None:
    """Raise ModelError where torch.compile would find no compiler; `device` is a torch device's type."""
    variable, names = COMPILERS[device]
    named = os.environ.get(variable)
    if not any(map(shutil.which, [named] if named else names)):
        raise ModelError(
            f"--compile needs a compiler, and {named or ' or '.join(names)} isn't installed; install one, "
            f"name it in {variable}, or leave --compile out"
        )


def fuse(module: torch.nn.Module, run: Callable[[int, int], object], longest: int) -> None:
    """Compile the module in place; `run(rows, tokens)` uses it. `longest` is its context in tokens."""
    module.compile(dynamic=True)
    try:
        for rows, tokens in SHAPES:
            run(rows, min(tokens, longest))
    except torch._dynamo.exc.TorchDynamoException as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(f"--compile failed: {reason}; leave --compile out") from error


@contextmanager
def fused(model: Any) -> Iterator[None]:
    """Inside, the layers of the model run compiled; they are compiled at their first call.

    All layers have the same code, so one is compiled for all (regional compilation), once for a single token and once
    for any number. What was recorded inside stays fused.
    """
    names = set(model._no_split_modules or ())
    layers = [module for module in model.modules() if type(module).__name__ in names]
    torch._dynamo.config.recompile_limit = max(VARIANTS, torch._dynamo.config.recompile_limit)
    try:
        for layer in layers:
            layer.forward = torch.compile(layer.forward, dynamic=True)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)
