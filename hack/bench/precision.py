"""What precisions cost and gain: `python -m hack.bench.precision --rounds 5`.

Prints one JSON object. For all-MiniLM-L6-v2 and SmolLM2-135M-Instruct in FP32, BF16, INT8 and W8A8, on a CPU:

- memory: bytes of weights; the peak of a process that loads the model as the server does, and what of its memory is no
  view of a file when it is loaded (each in a process of its own);
- drop: what the server's accuracy check measures, 1 - mean cosine or the growth of perplexity, in percent;
- speed: time of a forward pass relative to FP32 (under 1 is faster), the median of rounds in which all take turns, and
  the medians in milliseconds. Rows by tokens; a pass of SmolLM2 with one token is a step of so many sequences, with no
  KV cache read.

`naive` compares the memory of one batch as a server computes it (inference mode, parts of 8 rows) with autograd left on
and all rows at once. `--llama-8b` does another thing: the layers of Llama-3-8B's shape with random weights, on a GPU if
there is one, without attention, so that nothing has to be downloaded.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hack import models
from springtide_server import cgroup
from springtide_server.engine.memory import HostMemory
from springtide_server.engine.quantize import Int8Linear, quantize
from springtide_server.engine.settings import GenerateSettings
from springtide_server.precision import Outcome, Precision, PrecisionPolicy
from springtide_server.protocol import Task

PRECISIONS: tuple[Precision, ...] = ("FP32", "BF16", "INT8", "W8A8")
SHAPES = {"minilm": ((1, 32), (8, 32), (32, 32)), "smollm2": ((1, 1), (16, 1), (1, 128))}
TASKS: dict[str, Task] = {"minilm": "Embed", "smollm2": "Generate"}
LLAMA_ROWS = (1, 16, 64, 256)
NAIVE_ROWS, NAIVE_TOKENS, PART = 64, 128, 8
TOKEN = 2000


def main() -> None:
    """Print the figures of all models, or of what `--part` names: what the bench asks its own processes for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--llama-8b", action="store_true")
    parser.add_argument("--layers", type=int, default=32, help="of --llama-8b")
    parser.add_argument("--compile", action="store_true", help="--llama-8b: through torch.compile")
    parser.add_argument("--part", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(cgroup.threads())
    torch.set_grad_enabled(False)
    if options.part:
        print(json.dumps(_part(*options.part)))
        return
    about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "rounds": options.rounds}
    if options.llama_8b:
        print(json.dumps({**about, **_llama(options.rounds, options.layers, options.compile)}))
        return
    found: dict[str, Any] = {}
    for name in options.models:
        found[name] = {one: _ask("load", name, one) for one in PRECISIONS}
        for one, figures in _speed(name, options.rounds).items():
            found[name][one] |= figures
    naive = {way: _ask("batch", way)["peak_bytes"] for way in ("naive", "served")}
    print(
        json.dumps({**about, "models": found, "naive": {**naive, "ratio": round(naive["naive"] / naive["served"], 2)}})
    )


def _ask(*part: str) -> Any:
    command = [sys.executable, "-m", "hack.bench.precision", "--part", *part]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _part(kind: str, *arguments: str) -> dict[str, Any]:
    return _load(*arguments) if kind == "load" else _batch(*arguments)


def _load(name: str, precision: Any) -> dict[str, Any]:
    """What loading takes, as the server does it."""
    from springtide_server.engine.load import load

    outcomes: list[Outcome] = []
    before, start = _status(), time.monotonic()
    # All that is lost is allowed: the figures are wanted, not a verdict.
    policy = PrecisionPolicy(precision, max_drop_percent=100)
    small = GenerateSettings(cache_mebibytes=16)  # so that it doesn't count for much
    loaded = load(models.folder(name), TASKS[name], policy, small, lambda phase: nullcontext(), outcomes.append)
    seconds = time.monotonic() - start
    module: nn.Module = loaded.model._model
    after = _status()
    (outcome,) = outcomes
    return {
        "weight_bytes": _bytes(module),
        "load_seconds": round(seconds, 1),
        "load_peak_bytes": after["VmHWM"] - before["VmRSS"],
        "anonymous_bytes": after["RssAnon"] - before["RssAnon"],
        "drop_percent": None if outcome.drop is None else round(100 * outcome.drop, 3),
    }


def _status() -> dict[str, int]:
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {words[0][:-1]: int(words[1]) * 1024 for words in lines if words[0] in ("VmHWM:", "VmRSS:", "RssAnon:")}


def _bytes(module: nn.Module) -> int:
    """Of the weights, those that two layers share counted once."""
    layers = [one for one in module.modules() if isinstance(one, Int8Linear)]
    ours = {id(tensor) for layer in layers for tensor in [*layer.parameters(), *layer.buffers()]}
    others = [*module.parameters(), *module.buffers()]
    return sum(layer.nbytes for layer in layers) + sum(one.nbytes for one in others if id(one) not in ours)


def _speed(name: str, rounds: int) -> dict[str, dict[str, Any]]:
    from transformers import AutoModel, AutoModelForCausalLM

    kind: Any = AutoModel if name == "minilm" else AutoModelForCausalLM
    modules: dict[str, Callable[[torch.Tensor], Any]] = {}
    for precision in PRECISIONS:
        dtype = torch.bfloat16 if precision == "BF16" else torch.float32
        module = kind.from_pretrained(models.folder(name), dtype=dtype).eval()
        if precision in ("INT8", "W8A8"):
            quantize(module, precision)
        modules[precision] = module
    inputs = {f"{rows}x{tokens}": torch.full((rows, tokens), TOKEN) for rows, tokens in SHAPES[name]}
    return _turns(modules, inputs, rounds)


def _turns(
    modules: dict[str, Callable[[torch.Tensor], Any]], inputs: dict[str, torch.Tensor], rounds: int
) -> dict[str, dict[str, Any]]:
    """Each module on each input, in turns, so that what else the machine does hits all of them."""
    times: dict[str, dict[str, list[float]]] = {name: {shape: [] for shape in inputs} for name in modules}
    for number in range(rounds + 1):
        for shape, x in inputs.items():
            for name, module in modules.items():
                seconds = _seconds(lambda module=module, x=x: module(x))  # type: ignore[misc]
                if number:  # the first one warms up
                    times[name][shape].append(seconds)
    first = next(iter(modules))
    return {
        name: {
            "milliseconds": {shape: round(1e3 * statistics.median(each), 2) for shape, each in shapes.items()},
            "time_ratio": {shape: _ratio(each, times[first][shape]) for shape, each in shapes.items()},
        }
        for name, shapes in times.items()
    }


def _ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    return round(statistics.median(a / b for a, b in zip(ours, others, strict=True)), 3)


def _seconds(run: Callable[[], Any]) -> float:
    """The faster of two."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def _batch(way: str) -> dict[str, Any]:
    """The memory of a batch beyond what the model holds; the encoder's output is all that is kept of a part."""
    from transformers import AutoModel

    module = AutoModel.from_pretrained(models.folder("minilm"), dtype=torch.float32).eval()
    module(torch.full((1, 8), TOKEN))
    gc.collect()
    memory = HostMemory(90)
    memory.begin()
    x = torch.full((NAIVE_ROWS, NAIVE_TOKENS), TOKEN)
    if way == "naive":
        with torch.enable_grad():
            kept = [module(x).last_hidden_state.mean(1)]
    else:
        with torch.inference_mode():
            kept = [module(part).last_hidden_state.mean(1) for part in torch.split(x, PART)]
    return {"peak_bytes": memory.peak(), "rows": sum(map(len, kept))}


class Block(nn.Module):
    """A layer of Llama-3-8B, with attention left out: its projections are all there."""

    def __init__(self) -> None:
        super().__init__()
        size, inner, keys = 4096, 14336, 1024
        self.q, self.o = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
        self.k, self.v = nn.Linear(size, keys, bias=False), nn.Linear(size, keys, bias=False)
        self.gate, self.up = nn.Linear(size, inner, bias=False), nn.Linear(size, inner, bias=False)
        self.down = nn.Linear(inner, size, bias=False)
        self.first, self.second = nn.RMSNorm(size), nn.RMSNorm(size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 4096] → the same."""
        y = self.first(x)
        mixed = self.q(y) + torch.cat([self.k(y), self.v(y)], -1).repeat(1, 2)
        x = x + self.o(mixed)
        y = self.second(x)
        result: torch.Tensor = x + self.down(nn.functional.silu(self.gate(y)) * self.up(y))
        return result


def _llama(rounds: int, layers: int, compiled: bool) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = {f"{rows}": torch.randn(rows, 4096, device=device) for rows in LLAMA_ROWS}
    found: dict[str, Any] = {}
    for precision in PRECISIONS:
        dtype = torch.float32 if precision == "FP32" else torch.bfloat16
        with device:
            model = nn.Sequential(*(Block().to(dtype) for _ in range(layers)))
        if precision in ("INT8", "W8A8"):
            quantize(model, precision)
        weight_bytes = _bytes(model)
        if compiled:
            model.compile(dynamic=False)
        turns = _turns({precision: model}, {rows: x.to(dtype) for rows, x in inputs.items()}, rounds)
        found[precision] = {"weight_bytes": weight_bytes, "milliseconds_by_rows": turns[precision]["milliseconds"]}
        del model
        gc.collect()
        torch.cuda.empty_cache()
    for precision in PRECISIONS:
        times, base = found[precision]["milliseconds_by_rows"], found["FP32"]["milliseconds_by_rows"]
        found[precision]["time_ratio"] = {rows: round(times[rows] / base[rows], 3) for rows in times}
    return {"device": device.type, "layers": layers, "compiled": compiled, "llama_8b": found}


if __name__ == "__main__":
    main()
