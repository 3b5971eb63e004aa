"""What it brings to keep beginnings of prompts in the host's memory: `python -m hack.bench.spill`.

Several prompts with long beginnings of their own come in turns, each again and again with another end. Three processes:
`computed` has place for half of the beginnings on the device and none elsewhere, so each is forgotten before it comes
again; `host` has place for all in the host's memory; `device` on the device. Prints one JSON object: the median seconds
from a request, alone, to its first token, and how many tokens of all prompts were known already, which tells whether
each way did what it is named for. On a GPU `--model llama-8b --prefix 4096`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import torch

from hack.bench.engine import model_of, running
from springtide_server.engine.kv import Shape
from springtide_server.engine.settings import GenerateSettings
from springtide_server.engine.work import Delta, Generate, Terms
from springtide_server.metrics import Metrics

WAYS = ("computed", "host", "device")
END = 16  # tokens after the beginning


def main() -> int:
    """Print one object; a process for each way."""
    parser = argparse.ArgumentParser(description="Measures what a spilled KV cache saves.")
    parser.add_argument("--model", choices=["smollm2", "llama-8b"], default="smollm2", help="default: smollm2")
    parser.add_argument("--prefix", type=int, default=1024, metavar="TOKENS", help="of a beginning; default: 1024")
    parser.add_argument("--prefixes", type=int, default=6, help="in turns; default: 6")
    parser.add_argument("--rounds", type=int, default=3, help="that count, after the first one; default: 3")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(_measure(options)))
        return 0
    found = {}
    for way in WAYS:
        command = [sys.executable, "-m", "hack.bench.spill", "--way", way, *sys.argv[1:]]
        found[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    seconds = {way: one["first_token_seconds"] for way, one in found.items()}
    told = {name: {way: one.pop(name) for way, one in found.items()} for name in ("known_tokens", "runs")}
    ratio = {"time_ratio_to_computing": round(seconds["host"] / seconds["computed"], 4)}
    print(json.dumps(ratio | found["host"] | {"first_token_seconds": seconds} | told))
    return 0


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model, tokenizer = model_of(options.model, device, dtype)
    token_bytes = Shape.of(model.config, dtype).token_bytes
    context = options.prefix + END + 16
    whole = options.prefixes * context * token_bytes // 2**20 + 1
    settings = GenerateSettings(
        sequences=2,
        cache_mebibytes=2 * whole if options.way == "device" else whole // 2,
        host_mebibytes=2 * whole if options.way == "host" else 0,
    )
    seconds: list[float] = []
    metrics = Metrics()
    with running(model, tokenizer, settings, context, metrics) as (loop, engine):
        for turn in range(options.rounds + 1):
            for number in range(options.prefixes):
                taken = loop.run_until_complete(_first_token(engine, _prompt(options.prefix, number, turn)))
                if turn:
                    seconds.append(taken)
    return {
        "model": options.model,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "prefix": options.prefix,
        "prefix_bytes": options.prefix * token_bytes,
        "first_token_seconds": round(statistics.median(seconds), 4),
        "known_tokens": metrics.registry.get_sample_value("springtide_prefix_cache_hit_tokens_total"),
        "runs": [round(one, 4) for one in seconds],
    }


def _prompt(prefix: int, number: int, turn: int) -> list[int]:
    beginning = [1000 + (7 * place + 31 * number) % 20000 for place in range(prefix)]
    return beginning + [500 + (turn * END + place) % 400 for place in range(END)]


async def _first_token(engine: Any, prompt: list[int]) -> float:
    start = time.perf_counter()
    results = engine.submit(Generate(prompt, 2, temperature=0, ignore_end=True), Terms(0)).results(Delta)
    await anext(results)
    taken = time.perf_counter() - start
    async for _ in results:
        pass
    return taken


if __name__ == "__main__":
    raise SystemExit(main())
