"""How long before a foreseen rise the target rises when replicas load slowly: `python -m hack.bench.lead --cpu 100m`.

Needs the demo (`make demo`). It is what `make demo-scaling` shows, with replicas that may use little CPU, so that they
load for minutes as large models do. Seconds.
"""

from __future__ import annotations

import argparse
import json

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import DEFAULT_NAME, find
from hack.demo import scaling

NAMESPACE = "demo"
NAME = "slow"


def main() -> None:
    """Print the lead and the time to Ready that was measured."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cpu", default="100m", help="what a replica may use")
    spec, options = find(DEFAULT_NAME), parser.parse_args()
    try:
        ahead, report = scaling.foresee(spec, NAMESPACE, NAME, options.cpu)
        service = json.loads(kubectl(spec, "get", "modelservice", NAME, f"--namespace={NAMESPACE}", "--output=json"))
    finally:
        kubectl(spec, "delete", "modelservice", NAME, f"--namespace={NAMESPACE}", "--ignore-not-found")
    (pool,) = service["status"]["pools"]
    ready = pool.get("readySeconds")
    print(json.dumps({"cpu": options.cpu, "lead": ahead, "ready": ready, "attainment": report["attainment"]}))


if __name__ == "__main__":
    main()
