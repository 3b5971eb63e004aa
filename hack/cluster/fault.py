"""Faults: a node or a component killed, frozen or stopped, a link cut or slowed, each for a time and undone by itself.

A fault is one detached process that does it, waits and undoes it, recorded like a daemon; `down` and `clear` end it
early.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from hack.shell import Failure

from . import cgroups, delay, network, node, process
from .spec import Spec, clusters, find

KINDS = {
    "kill": "NODE or COMPONENT: end all of it at once (SIGKILL), start it again afterwards",
    "freeze": "NODE or COMPONENT: stop it where it stands, connections left open, and let it go on afterwards",
    "stop": "COMPONENT: end it in good order (SIGTERM), start it again afterwards",
    "blackhole": "NODE or other CLUSTER: packets to and from it (between the two) vanish without an answer",
    "delay": "NODE: every packet to and from it is held back by --milliseconds",
}
ROOT = Path(__file__).resolve().parents[2]


def inject(spec: Spec, kind: str, target: str, seconds: float, milliseconds: int = 0) -> str:
    """Start a fault and return its name at once; it lasts `seconds` and is then undone.

    Raises Failure when the target doesn't exist, or doesn't fit the kind.
    """
    check(spec, kind, target, milliseconds)
    if seconds <= 0:
        raise Failure(f"--seconds {seconds}: more than 0")
    name = f"fault-{kind}-{target}"
    if name in active(spec):
        raise Failure(f"{name} is active already; end it with `fault clear --name {spec.name}`")
    words = ("-m", "hack.cluster", "fault-hold", "--name", spec.name, kind, target)
    process.start(
        spec, name, "env", "-C", ROOT, sys.executable, *words, f"--seconds={seconds}", f"--milliseconds={milliseconds}"
    )
    # the fault is in place when its process says so
    held = spec.home / "run" / f"{name}.held"
    process.wait_for(held.exists, f"{name} to begin", 20, [(spec, name)])
    return name


def check(spec: Spec, kind: str, target: str, milliseconds: int) -> None:
    """Refuse a fault that can't be.

    Raises Failure that names what doesn't fit.
    """
    nodes = [each.name for each in spec.node_list]
    others = [other.name for other in clusters() if other.name != spec.name]
    components = [name for name in process.names(spec) if not name.startswith("fault-")]
    fitting = {
        "kill": [*nodes, *components],
        "freeze": [*nodes, *components],
        "stop": components,
        "blackhole": [*nodes, *others],
        "delay": nodes,
    }[kind]
    if target not in fitting:
        raise Failure(f"fault {kind} {target}: the targets in cluster {spec.name} are {', '.join(fitting) or '(none)'}")
    if kind == "delay" and not 1 <= milliseconds <= 60_000:
        raise Failure(f"--milliseconds {milliseconds}: between 1 and 60000 for a delay")


def hold(spec: Spec, kind: str, target: str, seconds: float, milliseconds: int) -> None:
    """Do a fault, wait, undo it: the body of a fault's process. SIGTERM undoes it early."""

    def end(*_: object) -> None:
        raise SystemExit

    signal.signal(signal.SIGTERM, end)
    name = f"fault-{kind}-{target}"
    record = spec.home / "run" / f"{name}.json"
    held = record.with_suffix(".held")
    try:
        with contextlib.suppress(SystemExit), _fault(spec, kind, target, milliseconds):
            held.touch()
            time.sleep(seconds)
    finally:
        held.unlink(missing_ok=True)
        record.unlink(missing_ok=True)


def active(spec: Spec) -> list[str]:
    """Return the faults that last."""
    return [name for name in process.names(spec) if name.startswith("fault-") and process.pid(spec, name) is not None]


def clear(spec: Spec) -> list[str]:
    """Undo all faults now and return their names."""
    faults = active(spec)
    process.stop(spec, *faults, patience=60)
    return faults


def forget(spec: Spec) -> None:
    """End all faults without undoing them: for a cluster that goes away."""
    process.stop(spec, *active(spec), hard=True)
    for each in spec.node_list:
        cgroups.freeze(each.cgroup, False)
        delay.remove(each)
    for other in clusters():
        network.separate(spec, other, False)
    for name in process.names(spec):
        if name.startswith("fault-"):
            (spec.home / "run" / f"{name}.json").unlink()
        elif (number := process.pid(spec, name)) is not None:
            process.send(number, signal.SIGCONT)


@contextlib.contextmanager
def _fault(spec: Spec, kind: str, target: str, milliseconds: int) -> Iterator[None]:
    nodes = {each.name: each for each in spec.node_list}
    on_node = nodes.get(target)
    match kind:
        case "delay":
            with delay.slowed(nodes[target], milliseconds / 1000):
                yield
        case "blackhole" if on_node is not None:
            network.attach(on_node, False)
            try:
                yield
            finally:
                network.attach(on_node, True)
        case "blackhole":
            other = find(target)
            network.separate(spec, other, True)
            try:
                yield
            finally:
                network.separate(spec, other, False)
        case "freeze" if on_node is not None:
            cgroups.freeze(on_node.cgroup, True)
            try:
                yield
            finally:
                cgroups.freeze(on_node.cgroup, False)
        case "freeze":
            number = process.pid(spec, target)
            if number is None:
                raise Failure(f"{target} doesn't run")
            process.send(number, signal.SIGSTOP)
            try:
                yield
            finally:
                process.send(number, signal.SIGCONT)
        case "kill" if on_node is not None:
            cgroups.kill(on_node.cgroup)
            network.attach(on_node, False)
            try:
                yield
            finally:
                network.attach(on_node, True)
                node.boot(on_node)
        case _:
            process.stop(spec, target, patience=30, hard=kind == "kill")
            try:
                yield
            finally:
                process.restart(spec, target)
