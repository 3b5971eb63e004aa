"""What a tick of scaling costs with many services: `python -m hack.bench.ticks --services 1000`.

It makes a cluster of its own (real control plane, fake nodes by KWOK), ModelServices of one pool that all scale, a real
Prometheus with the chart's rules, and the operator as a process, and takes all of it away. One server tells Prometheus
what all pods would, as a federated Prometheus does. Each service gets as many requests as two replicas serve.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from hack.cluster import lifecycle, process, prometheus
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec, clusters
from hack.packages import need
from hack.shell import Failure, say
from springtide.scaling.tuning import TUNING

from .audit import Audit
from .fleet import NAMESPACE, Fleet, Kind, connected
from .operator_process import Operator

JOB = "springtide-model-servers"
RATE = 2.0
POOL = {"name": "cpu", "capacity": {"requestsPerSecond": "2"}, "replicas": {"min": 1, "max": 6}}
SCALED = Kind((POOL, POOL), lambda pool: {"pools": [pool]}, lambda live: POOL)
# How fine the operator's CPU time is looked at, and how long it does nothing between two bursts of work.
FINE_SECONDS, PAUSE_SECONDS = 0.05, 0.5


class Pods(ThreadingHTTPServer):
    """Tells of the pods of all services what each would tell itself, `up` included."""

    daemon_threads = True

    def __init__(self) -> None:
        """Listen on a free port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self._services: dict[str, list[str]] = {}
        self._done: dict[str, float] = defaultdict(float)
        self._at = time.monotonic()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def look(self, spec: Spec) -> int:
        """Take note of the pods that there are; return how many."""
        path = r'{range .items[*]}{.metadata.labels.springtide\.dev/service} {.metadata.name}{"\n"}{end}'
        rows = kubectl(spec, "get", "pods", f"--namespace={NAMESPACE}", f"-o=jsonpath={path}").splitlines()
        services = defaultdict(list)
        for service, pod in map(str.split, rows):
            services[service].append(pod)
        self._services = services
        return len(rows)

    def text(self) -> str:
        """Return the metrics of all pods in Prometheus' text format."""
        seconds, self._at = time.monotonic() - self._at, time.monotonic()
        lines = []
        for service, pods in self._services.items():
            for pod in pods:
                done = self._done[pod] = self._done[pod] + RATE * seconds / len(pods)
                labels = f'job="{JOB}",namespace="{NAMESPACE}",service="{service}",pool="cpu",pod="{pod}"'
                answered = f'{labels},route="/v1/chat/completions"'
                lines += [
                    f"up{{{labels}}} 1",
                    f'springtide_requests_total{{{answered},code="200"}} {done}',
                    f"springtide_requests_in_flight{{{labels}}} 1",
                    f"springtide_queue_depth{{{labels}}} 0",
                    *(
                        f'springtide_request_duration_seconds_bucket{{{answered},le="{most}"}} {done}'
                        for most in ("0.5", "1", "+Inf")
                    ),
                ]
        return "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    server: Pods

    def do_GET(self) -> None:
        body = self.server.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> int:
    """Print one object."""
    parser = argparse.ArgumentParser(description="Measures what a tick of scaling costs with many services.")
    parser.add_argument("--services", type=int, default=1000, help="default: 1000")
    parser.add_argument("--seconds", type=float, default=150.0, help="how long a steady state is watched; default: 150")
    parser.add_argument("--name", default="bench-ticks", help="name of the cluster; default: bench-ticks")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a run that is ended cleans up
    for old in clusters():
        if old.name == options.name:
            lifecycle.down(old)  # a run that was killed left it
    spec = lifecycle.up(Spec(options.name, nodes=0, fake_nodes=6 * options.services // 100 + 1))
    try:
        kubectl(spec, "taint", "nodes", "--all", "kwok.x-k8s.io/node-")
        kubectl(spec, "create", "namespace", NAMESPACE)
        with Pods() as pods:
            url = _prometheus(spec, pods)
            print(json.dumps(asyncio.run(_measure(spec, pods, url, options))))
    except (Failure, TimeoutError, aiohttp.ClientError) as failure:
        print(failure or "the run took too long", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        lifecycle.down(spec)
    return 0


def _prometheus(spec: Spec, pods: Pods) -> str:
    need(*prometheus.PACKAGES)
    folder = spec.home / "prometheus"
    prometheus.configure(folder, jobs=({"job_name": "pods", "honor_labels": True},))
    prometheus.set_targets(folder, "pods", [{"targets": [pods.address]}])
    url = prometheus.url(spec)
    process.start(spec, "prometheus", *prometheus.command(folder, url.removeprefix("http://")))
    process.wait_for(lambda: prometheus.ready(url), "Prometheus", 60, [(spec, "prometheus")])
    return url


async def _measure(spec: Spec, pods: Pods, url: str, options: argparse.Namespace) -> dict[str, Any]:
    operator = Operator(spec, f"prometheus.url={url}", "forecaster.enabled=false")
    audit = Audit(spec.logs / "audit.log", operator.user)
    try:
        async with asyncio.timeout(900 + 2 * options.services + options.seconds), connected(spec, SCALED) as fleet:
            await fleet.create(options.services)
            watching = asyncio.create_task(fleet.watch_services())
            try:
                operator.start()
                await _until_steady(spec, pods, operator, audit, fleet)
                made = await _watch(operator, audit, url, options.seconds)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            shape = {"services": options.services, "pods": pods.look(spec), "cpus": os.cpu_count()}
            return shape | made | {"load": round(os.getloadavg()[0], 1)}
    finally:
        audit.close()
        operator.stop()


async def _until_steady(spec: Spec, pods: Pods, operator: Operator, audit: Audit, fleet: Fleet) -> None:
    """Wait until all services are Ready and, for two minutes, nothing of them was written and no pod was made."""
    before: tuple[Any, ...] = ()
    since = time.monotonic()
    while not before or time.monotonic() - since < 120:
        operator.check()
        ready = sum(service.conditions.get("Scaled") == "True" for service in fleet.services.values())
        now = (await asyncio.to_thread(pods.look, spec), audit.read().total(), ready)
        if now != before or ready < len(fleet.services):
            before, since = now, time.monotonic()
            say(f"{ready} services have what they need, {now[0]} pods, {now[1]} writes")
        await asyncio.sleep(10)


async def _watch(operator: Operator, audit: Audit, url: str, seconds: float) -> dict[str, Any]:
    stop = asyncio.Event()
    polling = asyncio.create_task(_slowest_answer(operator, stop))
    before, writes, questions, cpu = operator.metrics(), audit.read().total(), _questions(url), operator.cpu_seconds()
    times = await _cpu_times(operator, seconds)
    cpu = operator.cpu_seconds() - cpu
    stop.set()
    answer = await polling
    questions, writes = _questions(url) - questions, audit.read().total() - writes
    started = time.monotonic()
    after = operator.metrics()
    scrape = time.monotonic() - started

    def grown(name: str) -> float:
        return after[name] - before[name]

    ticks = round(seconds / TUNING.tick)
    bursts = sorted(_bursts(times))[-ticks:]
    reconciles = grown("springtide_reconcile_total")
    return {
        "ticks": ticks,
        "questions_per_tick": round(questions / ticks, 1),
        "reconciles_per_tick": round(reconciles / ticks),
        "cpu_seconds_per_tick": round(cpu / ticks, 2),
        "tick_seconds_median": round(statistics.median(bursts), 2),
        "tick_seconds_max": round(max(bursts), 2),
        "reconcile_mean_milliseconds": round(1000 * grown("springtide_reconcile_duration_seconds_sum") / reconciles, 2),
        "api_requests_per_tick": round(grown("springtide_api_requests_total") / ticks, 1),
        "writes_per_tick": round(writes / ticks, 2),
        "slowest_readyz_seconds": round(answer, 2),
        "metrics_seconds": round(scrape, 2),
        "rss_mebibytes": round(operator.peak_memory(), 1),
    }


async def _cpu_times(operator: Operator, seconds: float) -> list[tuple[float, float]]:
    """Return (seconds, CPU seconds that the operator has used) until so many seconds are over."""
    begun, found = time.monotonic(), []
    while (now := time.monotonic() - begun) < seconds:
        found.append((now, operator.cpu_seconds()))
        await asyncio.sleep(FINE_SECONDS)
    return found


def _bursts(times: list[tuple[float, float]]) -> list[float]:
    """Return how long each burst of work took; ticks are the longest."""
    found: list[list[float]] = []
    for (before, used), (now, uses) in pairwise(times):
        if uses - used > 0.3 * (now - before):
            if not found or before - found[-1][1] > PAUSE_SECONDS:
                found.append([before, now])
            found[-1][1] = now
    return [end - begin for begin, end in found]


async def _slowest_answer(operator: Operator, stop: asyncio.Event) -> float:
    """Return the seconds of the slowest answer to a probe: for so long nothing else of the operator ran either."""
    slowest = 0.0
    while not stop.is_set():
        started = time.monotonic()
        if not await asyncio.to_thread(operator.ready):
            raise Failure("the operator is not ready, or did not say so within 5 s")
        slowest = max(slowest, time.monotonic() - started)
        await asyncio.sleep(0.3)
    return slowest


def _questions(url: str) -> float:
    """Return how many queries Prometheus has had."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310
        families = text_string_to_metric_families(answer.read().decode())
    return sum(
        sample.value
        for family in families
        if family.name == "prometheus_http_requests"
        for sample in family.samples
        if sample.labels.get("handler") == "/api/v1/query"
    )


if __name__ == "__main__":
    sys.exit(main())
