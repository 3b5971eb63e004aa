"""Cgroups of nodes, versions 1 and 2: made before a kubelet starts, frozen and emptied as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from hack.shell import Failure

ROOT = Path("/sys/fs/cgroup")


def controllers() -> list[Path]:
    """Return the roots of all hierarchies: one on cgroup v2; on v1 one per controller, v2 may be beside them."""
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return sorted(path for path in ROOT.iterdir() if (path / "cgroup.procs").exists())


def paths(group: str) -> list[Path]:
    """Return the folders of a cgroup in all hierarchies."""
    return [controller / group for controller in controllers()]


def make(group: str) -> None:
    """Make a cgroup, its parents too, ready to hold processes and groups.

    On v1 a cpuset starts empty and accepts nobody, so it is copied from above; on v2 controllers are handed down.
    """
    for controller in controllers():
        path = controller
        for part in Path(group).parts:
            if (path / "cgroup.controllers").exists():
                for name in (path / "cgroup.controllers").read_text().split():
                    with contextlib.suppress(OSError):
                        (path / "cgroup.subtree_control").write_text(f"+{name}")
            parent, path = path, path / part
            path.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):
                if (path / file).exists() and not (path / file).read_text().strip() and (parent / file).exists():
                    (path / file).write_text((parent / file).read_text())


def pids(group: str) -> set[int]:
    """Return the processes in a cgroup and below it."""
    found: set[int] = set()
    for path in paths(group):
        for file in path.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(word) for word in file.read_text().split())
    return found


def freeze(group: str, frozen: bool) -> None:
    """Stop all processes of a cgroup where they stand, or let them go on."""
    v1, v2 = ROOT / "freezer" / group / "freezer.state", ROOT / group / "cgroup.freeze"
    if v1.exists():
        v1.write_text("FROZEN" if frozen else "THAWED")
    elif v2.exists():
        v2.write_text("1" if frozen else "0")


def kill(group: str, seconds: float = 20) -> None:
    """Kill every process of a cgroup, also those that appear meanwhile.

    Raises Failure when some outlive it.
    """
    deadline = time.monotonic() + seconds
    while found := pids(group):
        if time.monotonic() > deadline:
            raise Failure(f"processes of cgroup {group} don't end: {sorted(found)}")
        for number in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        freeze(group, False)
        time.sleep(0.05)


def remove(group: str) -> None:
    """Remove an empty cgroup with all below it, and its parents when nothing else is in them."""
    for path in paths(group):
        below = sorted((p for p in path.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)) if path.exists() else []
        for folder in [*below, path]:
            _rmdir(folder)
        for parent in path.parents:
            if parent in (ROOT, *controllers()):
                break
            with contextlib.suppress(OSError):
                parent.rmdir()


def _rmdir(path: Path) -> None:
    # the kernel lets go of a cgroup a little after its last process
    for _ in range(100):
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise Failure(f"cgroup {path} can't be removed: something is still in it")
