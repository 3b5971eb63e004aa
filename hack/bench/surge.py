"""How long it takes until one more replica answers when the traffic doubles: `python -m hack.bench.surge --runs 10`.

Needs the demo (`make demo`). Each run applies a fresh ModelService like the one that the demo scales, whose weights are
on the nodes, sends what one replica serves until that is measured and forecast, and then twice as much. Seconds since
then: until the operator made another pod, until that was ready, and until it answered a request of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from datetime import datetime
from typing import Any

from hack.cluster import process
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import DEFAULT_NAME, Spec, find
from hack.demo import scaling
from hack.load import Background, Options, run

NAMESPACE = "demo"
RATE = scaling.NIGHT
STEADY_SECONDS = 30
PATIENCE = 240


def main() -> None:
    """Print the median, the 95th percentile and the maximum."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10)
    runs = [one(find(DEFAULT_NAME), f"surge-{number}") for number in range(parser.parse_args().runs)]
    summary = {phase: _summary([made[phase] for made in runs]) for phase in runs[0]}
    print(json.dumps({"runs": len(runs), "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **summary}))


def one(spec: Spec, name: str) -> dict[str, float]:
    """Return {phase: seconds since the traffic doubled} of one service, which is deleted at the end."""
    # A rise from nothing makes live metrics alone ask for much headroom: they act when there is a forecast.
    address = scaling.serve(spec, NAMESPACE, name, mode="Observe")
    try:
        common: dict[str, Any] = {"kind": "embeddings", "model": name, "connections": "fresh", "arrivals": "constant"}
        with Background(Options((address,), rate=RATE, seconds=3600, **common)):
            foreseen = f"a forecast of {name}; does the forecaster run?"
            process.wait_for(lambda: bool(scaling.forecast(spec, NAMESPACE, name)), foreseen, PATIENCE)
            scaling.set_mode(spec, NAMESPACE, name, "Auto")
            time.sleep(STEADY_SECONDS)
            before = {pod["metadata"]["name"] for pod in _pods(spec, name)}
            began = time.time()
            with Background(Options((address,), rate=RATE, seconds=3600, **common)):
                pod = _ready_one(spec, name, before)
                ready = time.time() - began
                own = f"http://{pod['status']['podIP']}:8000"
                process.wait_for(lambda: _answers(own, name), f"{pod['metadata']['name']} to answer", 30)
                answered = time.time() - began
    finally:
        kubectl(spec, "delete", "modelservice", name, f"--namespace={NAMESPACE}")
    created = datetime.fromisoformat(pod["metadata"]["creationTimestamp"]).timestamp()
    return {"pod_made": max(created - began, 0.0), "ready": ready, "answered": answered}


def _ready_one(spec: Spec, name: str, before: set[str]) -> dict[str, Any]:
    """Wait for a pod that is ready and was not there before."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        for pod in _pods(spec, name):
            conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
            if pod["metadata"]["name"] not in before and conditions.get("Ready") == "True":
                found.append(pod)
        return bool(found)

    process.wait_for(there, f"one more replica of {name} to be ready", PATIENCE)
    return found[0]


def _pods(spec: Spec, name: str) -> list[dict[str, Any]]:
    words = ("get", "pods", f"--namespace={NAMESPACE}", f"--selector=springtide.dev/service={name}", "--output=json")
    pods: list[dict[str, Any]] = json.loads(kubectl(spec, *words))["items"]
    return pods


def _answers(address: str, name: str) -> bool:
    report = run(Options((address,), kind="embeddings", model=name, concurrency=1, requests=1, seconds=10))
    return bool(report["requests"]["ok"] == 1)


def _summary(seconds: list[float]) -> dict[str, float]:
    ranked = sorted(seconds)
    p95 = ranked[min(-(-95 * len(ranked) // 100), len(ranked)) - 1]  # nearest rank
    return {"median": round(statistics.median(ranked), 1), "p95": round(p95, 1), "max": round(ranked[-1], 1)}


if __name__ == "__main__":
    main()
