"""Daemons of a cluster: started apart from us, remembered by pid and start time, stopped by that record alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.shell import Failure, tail

from . import cgroups
from .spec import Node, Spec


@dataclass(frozen=True)
class Record:
    """A daemon that we started: its process, told from a later one with the same pid by its start time."""

    pid: int
    started: int | None
    command: list[str]
    node: str | None


def start(spec: Spec, name: str, *command: str | Path, node: Node | None = None) -> None:
    """Start a daemon, on the host or on a node (in its network namespace and cgroup); its log is `logs/NAME.log`."""
    argv = [str(word) for word in command]
    if node is not None:
        # nsenter and not `ip netns exec`: that one remounts /sys, which hides the cgroups. Both execs keep the pid.
        enter = " && ".join(f"echo $$ > {path}/cgroup.procs" for path in cgroups.paths(f"{node.cgroup}/system"))
        argv = ["sh", "-c", f'{enter} && exec "$@"', "sh", "nsenter", f"--net=/run/netns/{node.namespace}", *argv]
    spec.logs.mkdir(parents=True, exist_ok=True)
    with log(spec, name).open("ab") as output:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, cwd="/"
        )
    record = Record(child.pid, started_at(child.pid), [str(word) for word in command], node.name if node else None)
    _records(spec).mkdir(exist_ok=True)
    (_records(spec) / f"{name}.json").write_text(json.dumps(asdict(record)))


def restart(spec: Spec, name: str) -> None:
    """Start a daemon again with the command of its record."""
    record = _record(spec, name)
    start(spec, name, *record.command, node=spec.node(record.node) if record.node else None)


def names(spec: Spec) -> list[str]:
    """Return the daemons of the cluster that were started, running or not."""
    return sorted(file.stem for file in _records(spec).glob("*.json"))


def pid(spec: Spec, name: str) -> int | None:
    """Return the pid of a daemon, or None when it has ended (its pid may belong to another process by now)."""
    if name not in names(spec):
        return None  # a fault that is over removes its own record
    record = _record(spec, name)
    return record.pid if record.started is not None and started_at(record.pid) == record.started else None


def stop(spec: Spec, *daemons: str, patience: float = 5.0, hard: bool = False) -> None:
    """Stop daemons together: SIGTERM, then SIGKILL when `patience` seconds have passed; `hard` is SIGKILL at once."""
    pids = {name: number for name in daemons if (number := pid(spec, name)) is not None}
    for number in pids.values():
        send(number, signal.SIGKILL if hard else signal.SIGTERM)
    deadline = time.monotonic() + patience
    while pids and time.monotonic() < deadline:
        time.sleep(0.05)
        pids = {name: number for name, number in pids.items() if pid(spec, name) is not None}
    for number in pids.values():
        send(number, signal.SIGKILL)
    wait_for(lambda: not any(pid(spec, name) for name in pids), f"{', '.join(pids)} to end", 10)


def send(number: int, what: signal.Signals) -> None:
    """Send a signal to a process, which may have ended meanwhile."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, what)


def started_at(number: int) -> int | None:
    """Return the start time of a process in clock ticks since boot (proc(5), field 22), None when it runs no more."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(number, os.WNOHANG)  # a child of ours that ended must not stay behind as a zombie
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def wait_for(true: Callable[[], bool], what: str, seconds: float, watching: Iterable[tuple[Spec, str]] = ()) -> None:
    """Wait until something is true; a daemon of `watching` that ends meanwhile fails the wait at once.

    Raises Failure when time is up, or with the end of the log of the daemon that ended.
    """
    deadline = time.monotonic() + seconds
    watching = list(watching)
    while not true():
        for spec, name in watching:
            if pid(spec, name) is None:
                raise Failure(f"{name} ended; the end of {log(spec, name)}:\n{tail(log(spec, name).read_text())}")
        if time.monotonic() > deadline:
            raise Failure(
                f"waited {seconds:.0f} s for {what}" + "".join(f"; see {log(*daemon)}" for daemon in watching)
            )
        time.sleep(0.1)


def log(spec: Spec, name: str) -> Path:
    """Return the log file of a daemon."""
    return spec.logs / f"{name}.log"


def _records(spec: Spec) -> Path:
    return spec.home / "run"


def _record(spec: Spec, name: str) -> Record:
    try:
        return Record(**json.loads((_records(spec) / f"{name}.json").read_text()))
    except FileNotFoundError:
        raise Failure(f"{name}: cluster {spec.name} has the components {', '.join(names(spec))}") from None
