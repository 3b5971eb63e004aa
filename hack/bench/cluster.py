"""How long a local cluster takes, with a warm cache: `python -m hack.bench.cluster --runs 5`.

Each run makes a cluster with two real and twenty fake nodes and takes it away. Seconds, wall clock.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

from hack.cluster import lifecycle
from hack.cluster.spec import Spec


def main() -> None:
    """Print {"up": {...}, "down": {...}} with the median, minimum and maximum of all runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    seconds: dict[str, list[float]] = {"up": [], "down": []}
    lifecycle.down(lifecycle.up(Spec("bench", nodes=2, fake_nodes=20, fake_gpus=8)))  # warms the cache
    for _ in range(runs):
        started = time.monotonic()
        spec = lifecycle.up(Spec("bench", nodes=2, fake_nodes=20, fake_gpus=8))
        ready = time.monotonic()
        lifecycle.down(spec)
        seconds["up"].append(ready - started)
        seconds["down"].append(time.monotonic() - ready)
    summary = {
        name: {"median": round(statistics.median(all_), 1), "min": round(min(all_), 1), "max": round(max(all_), 1)}
        for name, all_ in seconds.items()
    }
    print(json.dumps({"runs": runs, "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **summary}))


if __name__ == "__main__":
    main()
