"""Our model server beside LitServe, Mosec, BentoML, Ray Serve and unbatched FastAPI: `python -m hack.bench.server`.

All have all-MiniLM-L6-v2 in float32, the same threads, the same bodies and the same shape of answers. Prints one JSON
object; docs/benchmarks.md says what is in it. Servers that aren't measured just then are stopped. A peer that can't be
installed or started is in the table with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from typing import Any, NoReturn

from hack.bench.peers import summary
from hack.bench.peers.catalog import KINDS, OURS
from hack.bench.peers.contest import Contender, Contest
from hack.bench.peers.trials import ATTAINMENT, OVERLOAD, TOP, WORKLOADS
from hack.shell import Failure, say

QUICK = {"peers": ["mosec", "fastapi"], "rounds": 1, "steps": 2, "seconds": 1.0, "warm_up_seconds": 1.0,
         "overload_seconds": 4.0}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}")
        sys.exit(1)


def main() -> int:
    """Print the report; return 1 where the options are refused."""
    try:
        asked = _arguments()
        os.sched_setaffinity(0, asked.generator_cpus)
    except (Failure, OSError) as failure:
        say(f"error: {failure}")
        return 1
    # so that the servers are ended
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    began, load_before = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="sb", ignore_cleanup_errors=True) as scratch:
        contest = Contest(asked, scratch)
        contest.run()
    told = _report(contest) | {
        "seconds": round(time.monotonic() - began),
        "load_average": {"before": load_before, "after": os.getloadavg()[0]},
        "options": {name: value for name, value in sorted(vars(asked).items()) if not name.endswith("cpus")},
        "servers": {one.name: _row(one) for one in contest.contenders},
    }
    print(json.dumps(told, indent=1), flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = _Parser("python -m hack.bench.server", description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    peers = [name for name in KINDS if name != OURS]
    add("--peers", type=lambda text: text.split(","), help=f"some of {','.join(peers)} (all)")
    add("--full", action="store_true", help="sweep over all rows and waits: some 15 minutes more")
    add("--quick", action="store_true", help="two peers, no sweep, one short round: shows that it works, no figures")
    add("--rounds", type=int, help="of everything between sweep and overload (2)")
    add("--steps", type=int, help="of the search for the highest rate (4)")
    add("--seconds", type=float, help="of one load (4)")
    add("--warm-up-seconds", type=float, help="before the first one; BentoML learns for that long (5)")
    add("--overload-seconds", type=float, help="(12)")
    add("--slo-milliseconds", type=int, default=0, help="0: ten times the fastest answer to a client that is alone")
    add("--server-cores", default="0", help="a list like taskset's")
    add("--generator-cores", default="1", help="the same; none of the server's")
    asked = parser.parse_args()
    defaults = {
        "peers": peers,
        "rounds": 2,
        "steps": 4,
        "seconds": 4.0,
        "warm_up_seconds": 5.0,
        "overload_seconds": 12.0,
    }
    for name, value in (defaults | (QUICK if asked.quick else {})).items():
        if getattr(asked, name) is None:
            setattr(asked, name, value)
        elif name != "peers" and getattr(asked, name) <= 0:
            raise Failure(f"--{name.replace('_', '-')}: more than 0")
    if unknown := [name for name in asked.peers if name not in peers]:
        raise Failure(f"--peers {','.join(unknown)}: some of {','.join(peers)}")
    asked.generator_cpus = _cpus(asked.generator_cores, "--generator-cores")
    server_cpus = _cpus(asked.server_cores, "--server-cores")
    if server_cpus & asked.generator_cpus:
        raise Failure("--generator-cores: none of the server's, or the load would slow the server that it measures")
    asked.threads = len(server_cpus)
    return asked


def _cpus(text: str, option: str) -> set[int]:
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            raise Failure(f"{option} {text}: cores like 0, 0,1 or 0-3")
        cpus.update(range(int(first), int(last or first) + 1))
    if missing := cpus - os.sched_getaffinity(0):
        raise Failure(f"{option} {text}: there is no core {min(missing)} here")
    return cpus


def _report(contest: Contest) -> dict[str, Any]:
    measured = {one.name: one for one in contest.measured()}
    by_workload = {workload: {name: one.rounds[workload] for name, one in measured.items()} for workload in WORKLOADS}
    overload = measured[OURS].overload if OURS in measured else None
    workloads: dict[str, dict[str, Any]] = {
        name: {
            "tokens": WORKLOADS[name],
            "goodput_ratio_to_best_peer": summary.ratio(rounds, "goodput"),
            "best_peer_by_goodput": summary.best_peer(rounds, "goodput"),
            "p99_ratio_to_best_peer_at_70_percent": summary.ratio(rounds, "p99_ms", lowest=True),
            "best_peer_by_p99": summary.best_peer(rounds, "p99_ms", lowest=True),
            "capacity_ratio_to_best_peer": summary.ratio(rounds, "capacity"),
        }
        for name, rounds in by_workload.items()
    }

    def worst(name: str, of: Any) -> Any:
        return of((one[name] for one in workloads.values() if one[name] is not None), default=None)

    return {
        # of the workload where we do worse
        "goodput_ratio_to_best_peer": worst("goodput_ratio_to_best_peer", min),
        "p99_ratio_to_best_peer_at_70_percent": worst("p99_ratio_to_best_peer_at_70_percent", max),
        "overload_goodput_fraction": overload and overload["goodput_fraction_of_peak"],
        "overload_top_class_attainment": overload and overload["attainment_by_class"][TOP],
        "valid": bool(overload and overload["valid"])
        and all(one.valid for rounds in by_workload.values() for own in rounds.values() for one in own),
        "workloads": workloads,
        "slo_milliseconds": contest.slo,
        "attainment_asked": ATTAINMENT,
        "overload_factor": OVERLOAD,
    }


def _row(contender: Contender) -> dict[str, Any]:
    told: dict[str, Any] = {"version": contender.kind.version(), "measured": not contender.reason}
    if contender.reason:
        told["reason"] = contender.reason
    told |= {"best": {"rows": contender.rows, "wait_milliseconds": contender.wait}, "sweep": contender.sweep}
    if not contender.reason:
        told |= {"unloaded_p50_ms": contender.unloaded_ms, "overload": contender.overload}
        told["workloads"] = {name: summary.table(rounds) for name, rounds in contender.rounds.items()}
    return told


if __name__ == "__main__":
    sys.exit(main())
