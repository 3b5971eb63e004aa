"""How fast text is generated, beside transformers in the same process: `python -m hack.bench.engine`.

Without options: SmolLM2 in float32 on the CPU. On a GPU `--model llama-8b` has random weights in Llama-3-8B's shape, in
bfloat16, so that no file is needed. All sequences begin at once, read `--prompt` tokens and write `--new`. A rate
counts the tokens written, over the time from the first request to the last token, reading the prompts included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hack import models
from springtide_server.engine.engine import Phase, QueueSettings
from springtide_server.engine.generate import GenerateEngine
from springtide_server.engine.kv import Shape
from springtide_server.engine.language import build, check
from springtide_server.engine.memory import measured
from springtide_server.engine.quantize import quantize
from springtide_server.engine.settings import GenerateSettings
from springtide_server.engine.work import Delta, Generate, Terms
from springtide_server.metrics import Metrics

LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    "max_position_embeddings": 8192,
    "tie_word_embeddings": False,
}


class Numbers:
    """Stands for the tokenizer of random weights, whose tokens mean nothing."""

    vocabulary = LLAMA_8B["vocab_size"]

    def decode(self, tokens: list[int]) -> str:
        """A letter for each token."""
        return "x" * len(tokens)


def main() -> int:
    """Print one object."""
    parser = argparse.ArgumentParser(description="Measures the generate engine beside transformers.")
    parser.add_argument("--model", choices=["smollm2", "llama-8b"], default="smollm2", help="default: smollm2")
    parser.add_argument("--sequences", default="16", metavar="N,...", help="at once; default: 16")
    parser.add_argument("--prompt", type=int, default=64, metavar="TOKENS", help="default: 64")
    parser.add_argument("--new", type=int, default=64, metavar="TOKENS", help="default: 64")
    parser.add_argument("--runs", type=int, default=3, help="of which the median is told; default: 3")
    parser.add_argument("--peers", default="generate,continuous", help="of transformers; default: generate,continuous")
    parser.add_argument("--threads", type=int, default=0, help="of torch on a CPU; default: as many as cores")
    precisions = ["FP32", "BF16", "INT8", "W8A8"]
    parser.add_argument("--precision", choices=precisions, help="default: FP32 on a CPU, BF16 on a GPU")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    options.precision = options.precision or ("BF16" if device.type == "cuda" else "FP32")
    whole = options.precision == "FP32" or (options.precision != "BF16" and device.type == "cpu")
    dtype = torch.float32 if whole else torch.bfloat16
    counts = [int(count) for count in options.sequences.split(",")]
    print(json.dumps(_measure(options, device, dtype, counts)))
    return 0


def _measure(
    options: argparse.Namespace, device: torch.device, dtype: torch.dtype, counts: list[int]
) -> dict[str, Any]:
    peers = [name for name in options.peers.split(",") if name]
    model, tokenizer = model_of(options.model, device, dtype)
    check(model, model.config.vocab_size)
    if options.precision in ("INT8", "W8A8"):
        _say(str(quantize(model, options.precision)))
    weights = sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
    if not model.config.tie_word_embeddings:  # of the input's table only a few rows are read
        weights -= model.get_input_embeddings().weight.numel() * dtype.itemsize
    token_bytes = Shape.of(model.config, dtype).token_bytes
    bandwidth = _bandwidth(device)
    rates: dict[str, dict[int, list[float]]] = {name: {count: [] for count in counts} for name in ("ours", *peers)}
    # transformers first: the engine then sets the model to its own attention.
    for name in peers:
        for count in counts:
            for _ in range(options.runs):
                _say(f"{name} {count}")
                rates[name][count].append(PEERS[name](model, count, options))
    context = options.prompt + options.new + 16
    mebibytes = max(counts) * context * token_bytes // 2**20 + 64
    settings = GenerateSettings(sequences=max(counts), cache_mebibytes=mebibytes, share_prefixes=False)
    with running(model, tokenizer, settings, context, Metrics(), options.precision) as (loop, engine):
        loop.run_until_complete(_ours(engine, min(counts), options))
        for count in counts:
            for _ in range(options.runs):
                _say(f"ours {count}")
                rates["ours"][count].append(loop.run_until_complete(_ours(engine, count, options)))
    table = []
    for count in counts:
        row: dict[str, Any] = {"sequences": count}
        row |= {name: round(statistics.median(found[count]), 2) for name, found in rates.items() if found[count]}
        read = weights + count * token_bytes * (options.prompt + options.new / 2)
        row["bandwidth_bound"] = round(count * bandwidth / read, 1)
        row["fraction_of_bandwidth_bound"] = round(row["ours"] / row["bandwidth_bound"], 4)
        row |= {f"ratio_to_{name}": round(row["ours"] / row[name], 3) for name in peers}
        table.append(row)
    last = table[-1]
    return {
        "tokens_per_second": last["ours"],
        "ratio_to_transformers": last.get("ratio_to_generate"),
        "ratio_to_continuous_batching": last.get("ratio_to_continuous"),
        "fraction_of_bandwidth_bound": last["fraction_of_bandwidth_bound"],
        "model": options.model,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "precision": options.precision,
        "threads": torch.get_num_threads(),
        "prompt": options.prompt,
        "new": options.new,
        "weights_bytes": weights,
        "bandwidth_bytes_per_second": round(bandwidth),
        "table": table,
        "runs": {
            name: {str(count): [round(one, 2) for one in of] for count, of in found.items()}
            for name, found in rates.items()
        },
    }


def model_of(name: str, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    if name == "smollm2":
        from springtide_server.engine.tokenizer import Tokenizer

        folder = models.folder("smollm2")
        loaded: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        return loaded.to(device).eval(), Tokenizer(folder)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model: Any = LlamaForCausalLM(LlamaConfig(**LLAMA_8B))
    torch.set_default_dtype(default)
    return model.eval(), Numbers()


def _prompts(count: int, options: argparse.Namespace) -> list[list[int]]:
    """No two begin the same."""
    return [[1000 + (7 * place + 31 * number) % 20000 for place in range(options.prompt)] for number in range(count)]


def _one_by_one(model: Any, count: int, options: argparse.Namespace) -> float:
    """transformers' generate for one prompt after the other; a few are enough, since each takes the same."""
    few = _prompts(min(count, 2), options)
    start = time.perf_counter()
    for prompt in few:
        ids = torch.tensor([prompt], device=model.device)
        settings = {"max_new_tokens": options.new, "min_new_tokens": options.new, "do_sample": False}
        model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, **settings)
    written: int = len(few) * options.new
    return written / (time.perf_counter() - start)


def _continuous(model: Any, count: int, options: argparse.Namespace) -> float:
    """transformers' own continuous batching."""
    from transformers import GenerationConfig

    settings = GenerationConfig(max_new_tokens=options.new, do_sample=False, eos_token_id=-1, pad_token_id=0)  # type: ignore[no-untyped-call]
    start = time.perf_counter()
    found = model.generate_batch(inputs=_prompts(count, options), generation_config=settings, progress_bar=False)
    seconds = time.perf_counter() - start
    return sum(len(one.generated_tokens) for one in found.values()) / seconds


PEERS: dict[str, Callable[[Any, int, argparse.Namespace], float]] = {"generate": _one_by_one, "continuous": _continuous}


@contextmanager
def running(
    model: Any, tokenizer: Any, settings: GenerateSettings, context: int, metrics: Metrics, precision: str = ""
) -> Iterator[tuple[Any, Any]]:
    """(event loop, engine) of the model, which from then on has our attention."""

    def load(phase: Phase) -> tuple[Any, Any]:
        memory = measured(model.device, 90)
        return build(model, settings, context, frozenset(), memory, model.config.vocab_size, precision), tokenizer

    engine = GenerateEngine("bench", load, QueueSettings(places=4096, tokens=1 << 30), metrics)
    failed: list[Exception] = []
    engine.start(failed.append)
    while engine.state == "loading":
        time.sleep(0.05)
    if failed:
        raise failed[0]
    with asyncio.Runner() as runner:
        yield runner.get_loop(), engine


async def _ours(engine: GenerateEngine, count: int, options: argparse.Namespace) -> float:
    async def one(prompt: list[int]) -> int:
        request = Generate(prompt, options.new, temperature=0, ignore_end=True)
        pieces = [delta async for delta in engine.submit(request, Terms(0)).results(Delta)]
        return pieces[-1].tokens

    start = time.perf_counter()
    written = await asyncio.gather(*(one(prompt) for prompt in _prompts(count, options)))
    return sum(written) / (time.perf_counter() - start)


def _bandwidth(device: torch.device) -> float:
    """Bytes read and written a second by a large copy, the best of several."""
    size = (2 << 30) if device.type == "cuda" else (256 << 20)
    here = torch.ones(size, dtype=torch.uint8, device=device)
    there = torch.empty_like(here)
    best = 0.0
    for _ in range(8):
        _wait(device)
        start = time.perf_counter()
        there.copy_(here)
        _wait(device)
        best = max(best, 2 * size / (time.perf_counter() - start))
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
