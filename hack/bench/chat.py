"""How fast the demo's chat model writes, one request at a time: `python -m hack.bench.chat --runs 5`.

Needs the demo (`make demo`). Tokens a second of whole answers of 64 tokens at temperature 0, from the host.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
import urllib.request

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import DEFAULT_NAME, find

QUESTION = {
    "model": "chat",
    "temperature": 0,
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Tell me a long story about the sea."}],
}


def main() -> None:
    """Print {"tokens_per_second": {...}} with the median, minimum and maximum of all runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    words = ("get", "service", "chat", "--namespace=demo", "--output=jsonpath={.spec.clusterIP}")
    url = f"http://{kubectl(find(DEFAULT_NAME), *words)}/v1/chat/completions"
    speeds = sorted(_speed(url) for _ in range(runs))
    summary = {"median": statistics.median(speeds), "min": speeds[0], "max": speeds[-1]}
    rounded = {name: round(speed, 1) for name, speed in summary.items()}
    print(json.dumps({"runs": runs, "cpus": os.cpu_count(), "tokens_per_second": rounded}))


def _speed(url: str) -> float:
    started = time.monotonic()
    request = urllib.request.Request(url, json.dumps(QUESTION).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
        tokens = int(json.load(response)["usage"]["completion_tokens"])
    return tokens / (time.monotonic() - started)


if __name__ == "__main__":
    main()
