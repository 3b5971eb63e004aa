"""How long a replica takes from `kubectl apply` to Ready, by phase: `python -m hack.bench.start --runs 5`.

Needs the demo (`make demo`). Each run applies a fresh ModelService like the chat example and deletes it. Seconds since
the apply, from the times that Kubernetes recorded (whole seconds) but for `ready`: when `kubectl wait` returned.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import time
from typing import Any

import yaml

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import DEFAULT_NAME, Spec, find
from hack.images.catalog import ROOT

NAMESPACE = "--namespace=demo"


def main() -> None:
    """Print the median, minimum and maximum of each phase."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    runs = [one(find(DEFAULT_NAME), number) for number in range(parser.parse_args().runs)]
    summary = {
        phase: {
            "median": round(statistics.median(run[phase] for run in runs), 1),
            "min": round(min(run[phase] for run in runs), 1),
            "max": round(max(run[phase] for run in runs), 1),
        }
        for phase in runs[0]
    }
    print(json.dumps({"runs": len(runs), "cpus": os.cpu_count(), "load": round(os.getloadavg()[0], 1), **summary}))


def one(spec: Spec, number: int) -> dict[str, float]:
    """Return {phase: seconds since the apply} of one service."""
    name = f"bench-{number}"
    service = yaml.safe_load((ROOT / "examples" / "chat.yaml").read_text())
    service["metadata"]["name"] = name
    started, clock = time.time(), time.monotonic()
    kubectl(spec, "apply", NAMESPACE, "--filename=-", stdin=json.dumps(service))
    wait = ("wait", "--for=condition=Ready", f"modelservice/{name}", NAMESPACE, "--timeout=300s")
    kubectl(spec, *wait, "--request-timeout=310s")
    ready = time.monotonic() - clock
    found = json.loads(kubectl(spec, "get", "pods", NAMESPACE, f"-l=springtide.dev/service={name}", "-o=json"))
    pod: dict[str, Any] = found["items"][0]
    running = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    kubectl(spec, "delete", "modelservice", name, NAMESPACE)
    return {
        "pod_created": _since(started, pod["metadata"]["creationTimestamp"]),
        "container_started": _since(started, running),
        "ready": ready,
    }


def _since(started: float, timestamp: str) -> float:
    return max(0.0, datetime.datetime.fromisoformat(timestamp).timestamp() - started)


if __name__ == "__main__":
    main()
