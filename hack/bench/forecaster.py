"""What the forecaster costs with many services: `python -m hack.bench.forecaster --services 1000`.

The program as it ships asks an HTTP server that answers as Prometheus and as the API server would: a week of minutes,
ten pods a service. It prints the CPU time until the first forecasts, that of each minute afterwards, and the memory.
`--refit N` measures the training of N made-up services of 30 days instead, which needs torch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from hack.shell import Failure

_PODS = 10
_DAYS = 30


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=3)
    parser.add_argument("--refit", type=int, metavar="N")
    options = parser.parse_args()
    print(json.dumps(_refit(options.refit) if options.refit else _run(options.services, options.minutes), indent=1))


class _World(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, services: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.names = [(f"team-{number % 20}", f"service-{number}") for number in range(services)]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def demand(self, at: str) -> list[Any]:
        return [
            {
                "metric": {"namespace": namespace, "service": service, "pool": "gpu", "pod": f"{service}-{pod}"},
                "value": [float(at), str(random.uniform(5, 6))],  # noqa: S311
            }
            for namespace, service in self.names
            for pod in range(_PODS)
        ]

    def past(self, start: str, end: str) -> list[Any]:
        times = range(int(start), int(end) + 1, 60)
        return [
            {
                "metric": {"namespace": namespace, "service": service},
                "values": [[at, str(random.uniform(50, 60))] for at in times],  # noqa: S311
            }
            for namespace, service in self.names
        ]

    def services(self) -> list[Any]:
        return [
            {"metadata": {"namespace": namespace, "name": service, "uid": service}} for namespace, service in self.names
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _World

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/api/v1/query":
            self._answer({"status": "success", "data": {"result": self.server.demand(asked["time"])}})
        elif parts.path == "/api/v1/query_range":
            found = self.server.past(asked["start"], asked["end"])
            self._answer({"status": "success", "data": {"result": found}})
        else:
            self._answer({"metadata": {}, "items": self.server.services()})

    def do_PATCH(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer({"metadata": {}})

    def _answer(self, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _run(services: int, minutes: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, _World(services) as world:
        url = f"http://127.0.0.1:{world.server_address[1]}"
        config, log = Path(folder, "kubeconfig"), Path(folder, "log")
        config.write_text(json.dumps(_kubeconfig(url)))
        command = [sys.executable, "-m", "springtide.cli.forecaster", f"--prometheus-url={url}", "--health-port=0"]
        variables = os.environ | {"KUBECONFIG": str(config), "OPENBLAS_NUM_THREADS": "1"}
        with log.open("wb") as output:
            process = subprocess.Popen([*command, f"--state-dir={folder}"], env=variables, stderr=output)
        try:
            while not (said := re.search(r'"port": (\d+)', log.read_text())):
                if process.poll() is not None:
                    raise Failure(f"the forecaster ended:\n{log.read_text()}")
                time.sleep(0.1)
            metrics = f"http://127.0.0.1:{said[1]}/metrics"
            before = _wait(metrics, 1)
            first = _cpu(process.pid)
            after = _wait(metrics, 1 + minutes)
            return {
                "services": services,
                "cpu_seconds_until_first_forecasts": round(first, 1),
                "cpu_seconds_per_minute": round((_cpu(process.pid) - first) / minutes, 2),
                "compute_seconds_per_minute": round((after[1] - before[1]) / minutes, 3),
                "peak_mebibytes": _peak(process.pid),
                "state_mebibytes": Path(folder, "state.npz").stat().st_size >> 20,
            }
        finally:
            process.kill()
            process.wait()


def _wait(url: str, count: int) -> tuple[float, float]:
    """Return the number of minutes and their time once so many have been computed and written."""
    while True:
        time.sleep(1)
        with urllib.request.urlopen(url) as answer:  # noqa: S310
            text = answer.read().decode()
        names = ("compute_seconds_count", "compute_seconds_sum", "written_total")
        found = [re.search(rf"^springtide_forecaster_{name} (\S+)", text, re.MULTILINE) for name in names]
        minutes, seconds, written = (float(one[1]) if one else 0.0 for one in found)
        if minutes >= count and written:
            return minutes, seconds


def _kubeconfig(url: str) -> dict[str, Any]:
    return {
        "clusters": [{"name": "bench", "cluster": {"server": url}}],
        "users": [{"name": "bench", "user": {"token": "bench"}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "current-context": "bench",
    }


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) >> 10 if found else 0


def _refit(services: int) -> dict[str, Any]:
    import torch

    from springtide.forecast.checkpoint import pretrained
    from springtide.forecast.horizon import DAY
    from springtide.forecast.synthetic import synthetic
    from springtide.forecast.train import refit
    from springtide.forecaster.training import PLAN

    torch.set_num_threads(1)
    made = np.random.default_rng(5)
    series = [synthetic(_DAYS, made).astype(np.float32) for _ in range(services)]
    wall, cpu = time.monotonic(), time.process_time()
    _, verdicts = refit(pretrained(), series, PLAN)
    return {
        "services": services,
        "minutes": services * _DAYS * DAY,
        "seconds": round(time.monotonic() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
        "verdicts": [str(one) for one in verdicts],
    }


if __name__ == "__main__":
    main()
