"""How fast the operator follows, and what it costs: `python -m hack.bench.reconcile --runs 3`.

Each run makes a cluster of its own (real control plane, fake nodes by KWOK), 200 ModelServices and the operator as a
process, and takes all of it away. Times are what an administrator's watches see; `own_write` is how long the API server
takes for the changes themselves, which tells how busy the machine was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import aiohttp

from hack.cluster import lifecycle
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec, clusters
from hack.shell import Failure, say

from .audit import Audit
from .fleet import CHANGES, NAMESPACE, Fleet, connected
from .operator_process import Operator

# Nothing of the operator is written any more when it wrote nothing for so long.
QUIET_SECONDS = 3.0


def main() -> int:
    """Print one object: the medians of all runs, and each run."""
    parser = argparse.ArgumentParser(description="Measures how fast the operator follows, and what it costs.")
    parser.add_argument("--services", type=int, default=200, help="ModelServices of one pool; default: 200")
    parser.add_argument("--changes-per-second", type=float, default=10.0, help="default: 10")
    parser.add_argument("--seconds", type=float, default=30.0, help="for how long changes are made; default: 30")
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="default: 60")
    parser.add_argument("--change", choices=sorted(CHANGES), default="tier", help="tier makes no pod; default: tier")
    parser.add_argument("--runs", type=int, default=1, help="default: 1")
    parser.add_argument("--name", default="bench-reconcile", help="name of the cluster; default: bench-reconcile")
    parser.add_argument("--keep", action="store_true", help="leave the cluster of the last run, without an operator")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that a run that is ended cleans up
    try:
        rounds = [_round(options, last=number == options.runs - 1) for number in range(options.runs)]
    except (Failure, TimeoutError, aiohttp.ClientError) as failure:
        print(failure or "the run took too long", "(with --keep the cluster stays, and its logs)", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(_summary(options, rounds)))
    return 0


def _round(options: argparse.Namespace, *, last: bool) -> dict[str, Any]:
    for old in clusters():
        if old.name == options.name:
            lifecycle.down(old)  # a run that was killed left it, or one with --keep
    # up to two pods a service, 110 a node
    spec = lifecycle.up(Spec(options.name, nodes=0, fake_nodes=2 * options.services // 100 + 1))
    try:
        kubectl(spec, "taint", "nodes", "--all", "kwok.x-k8s.io/node-")
        kubectl(spec, "create", "namespace", NAMESPACE)
        kubectl(spec, "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        return asyncio.run(_measure(spec, options))
    finally:
        if not (last and options.keep):
            lifecycle.down(spec)


async def _measure(spec: Spec, options: argparse.Namespace) -> dict[str, Any]:
    operator = Operator(spec)
    audit = Audit(spec.logs / "audit.log", operator.user)
    allowed = 900 + 4 * options.seconds + options.idle_seconds + options.services
    try:
        async with asyncio.timeout(allowed), connected(spec, CHANGES[options.change]) as fleet:
            await fleet.create(options.services)
            watching = [asyncio.create_task(one) for one in (fleet.watch_services(), fleet.watch_deployments())]

            def check() -> None:
                operator.check()
                for task in watching:
                    if task.done():
                        task.result()

            try:
                return await Run(operator, audit, fleet, check).measure(options)
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)
    finally:
        audit.close()
        operator.stop()


class Run:
    """The phases of one run."""

    def __init__(self, operator: Operator, audit: Audit, fleet: Fleet, check: Callable[[], None]) -> None:
        self._operator = operator
        self._audit = audit
        self._fleet = fleet
        self._check = check
        self._services = fleet.services.values()

    async def measure(self, options: argparse.Namespace) -> dict[str, Any]:
        """Start with nothing in place, settle, change, settle, idle, start again with everything in place."""
        cold, cold_writes = await self._counted(self._cold_start(), "all services to be accepted and ready")
        cold_cpu = cpu = self._operator.cpu_seconds()
        say(f"cold start: {cold:.1f} s")
        _, writes = await self._counted(self._changes(options), "all changes to be ready")
        cpu = self._operator.cpu_seconds() - cpu
        load = os.getloadavg()[0]  # of the last minute: how busy others kept the machine is in it
        say(f"changes: p99 {percentile(self._fleet.applied_seconds, 99):.3f} s")
        _, idle_writes = await self._counted(asyncio.sleep(options.idle_seconds), "quiet", quiet=0)
        say(f"idle: {idle_writes.total()} writes")
        memory = self._operator.peak_memory()
        self._operator.stop()
        restart, restart_writes = await self._counted(self._restart(), "quiet after the restart")
        say(f"restart: {restart:.1f} s")
        fleet = self._fleet
        applied, reported, own = fleet.applied_seconds, fleet.reported_seconds, fleet.write_seconds
        measured = {
            "spec_to_applied_p50_seconds": round(percentile(applied, 50), 3),
            "spec_to_applied_p99_seconds": round(percentile(applied, 99), 3),
            "spec_to_applied_max_seconds": round(max(applied), 3),
            "status_p50_seconds": round(percentile(reported, 50), 3),
            "status_p99_seconds": round(percentile(reported, 99), 3),
            "own_write_p50_seconds": round(percentile(own, 50), 3),
            "own_write_p99_seconds": round(percentile(own, 99), 3),
            "cold_start_seconds": round(cold, 1),
            "cold_start_cpu_seconds": round(cold_cpu, 1),
            "restart_seconds": round(restart, 1),
            "rss_mebibytes": round(max(memory, self._operator.peak_memory()), 1),
            "cpu_seconds": round(cpu, 1),
            "changes": len(applied),
            "changes_per_second": round(len(applied) / fleet.changed_seconds, 1),
            "writes_per_change": round(writes.total() / len(applied), 2),
            "idle_writes": idle_writes.total(),
            "restart_writes": restart_writes.total(),
            "load": round(load, 1),
            "writes": dict(writes),
            "cold_start_writes": dict(cold_writes),
        }
        say(json.dumps(measured))
        return measured

    async def _cold_start(self) -> float:
        started = time.monotonic()
        self._operator.start()
        await self._until(lambda: all(service.accepted for service in self._services), "all services to be accepted")
        return time.monotonic() - started

    async def _changes(self, options: argparse.Namespace) -> None:
        await self._fleet.change(options.changes_per_second, options.seconds, self._check)
        await self._until(lambda: not any(service.busy for service in self._services), "all changes to be seen", 60)

    async def _restart(self) -> float:
        started = time.monotonic()
        self._operator.start()

        def done() -> bool:
            if not self._operator.ready():
                return False
            seen = self._operator.metrics()
            waiting = seen.get("workqueue_depth", 1) + seen.get("workqueue_unfinished_work_seconds", 1)
            return waiting == 0 and seen["springtide_reconcile_total"] >= len(self._services)

        await self._until(done, "the operator to have looked at all services", pause=0.1)
        return time.monotonic() - started

    async def _counted(self, phase: Any, what: str, quiet: float = QUIET_SECONDS) -> tuple[Any, Counter[str]]:
        """Run a phase; return its result, and what was written in it and until all was ready and quiet."""
        before = self._audit.read()
        result = await phase
        await self._until(lambda: all(service.ready for service in self._services), what)
        now = self._audit.read()
        while quiet:
            await asyncio.sleep(quiet)
            self._check()
            last, now = now, self._audit.read()
            if now == last:
                break
        return result, now - before

    async def _until(self, true: Callable[[], bool], what: str, seconds: float = 240, pause: float = 0.02) -> None:
        end = time.monotonic() + seconds
        while not true():
            self._check()
            if time.monotonic() > end:
                raise Failure(f"waited {seconds:.0f} s for {what}")
            await asyncio.sleep(pause)


def percentile(seconds: list[float], percent: int) -> float:
    """Return the nearest rank: the least value that so many percent of all don't exceed."""
    return sorted(seconds)[math.ceil(len(seconds) * percent / 100) - 1]


def _summary(options: argparse.Namespace, rounds: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name, value in rounds[0].items() if not isinstance(value, dict)]
    medians = {name: round(statistics.median(one[name] for one in rounds), 3) for name in names}
    shape = {"runs": options.runs, "cpus": os.cpu_count(), "services": options.services, "change": options.change}
    return shape | medians | {"rounds": rounds}


if __name__ == "__main__":
    sys.exit(main())
