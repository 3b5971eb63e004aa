"""What the cgroup of this process allows and uses, for cgroup v1 and v2.

Limits hold along the whole path: a pod's group bounds its container's, so the smallest one met on the way up counts.
In a container the path of /proc/self/cgroup may be the host's, which isn't mounted: then the mounted top is our group.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

SYSTEM = Path("/sys/fs/cgroup")
PROCESS = Path("/proc/self/cgroup")
# cgroup v1 says "no limit" with the largest multiple of the page size.
V1_UNLIMITED = 1 << 60


def cpu_limit(system: Path = SYSTEM, process: Path = PROCESS) -> float | None:
    """CPUs that the quota allows, None where there is no quota."""
    limits = []
    for group in _groups(system, process, "cpu"):
        if quota := _read(group / "cpu.max"):  # v2: "max 100000" or "150000 100000"
            limit, _, period = quota.partition(" ")
            if limit != "max":
                limits.append(int(limit) / int(period))
        elif (quota := _read(group / "cpu.cfs_quota_us")) and int(quota) > 0:
            limits.append(int(quota) / int(_read(group / "cpu.cfs_period_us") or 100_000))
    return min(limits, default=None)


def memory_limit(system: Path = SYSTEM, process: Path = PROCESS) -> int | None:
    """Bytes that the process and its neighbours in the cgroup may use, None where there is no limit."""
    limits = []
    for group in _groups(system, process, "memory"):
        text = _read(group / "memory.max") or _read(group / "memory.limit_in_bytes")
        if text and text != "max" and int(text) < V1_UNLIMITED:
            limits.append(int(text))
    return min(limits, default=None)


def memory_usage(system: Path = SYSTEM, process: Path = PROCESS) -> int | None:
    """Bytes charged to the cgroup, page cache included; None where there is no memory controller."""
    for group in _groups(system, process, "memory"):
        if text := _read(group / "memory.current") or _read(group / "memory.usage_in_bytes"):
            return int(text)
    return None


def memory_reclaimable(system: Path = SYSTEM, process: Path = PROCESS) -> int:
    """Bytes of that use which the kernel takes back when they are needed: page cache that isn't in active use."""
    for group in _groups(system, process, "memory"):
        if text := _read(group / "memory.stat"):
            values = dict(line.split(" ", 1) for line in text.splitlines())
            # v1 tells its own and the total, v2 only the total.
            return int(values.get("total_inactive_file", values.get("inactive_file", 0)))
    return 0


def threads(system: Path = SYSTEM, process: Path = PROCESS) -> int:
    """Threads to compute with: whole CPUs of the quota, at least 1; without a quota the CPUs we may run on.

    Rounded down, since one thread more than the quota makes every parallel step wait for the throttled one.
    """
    available = len(os.sched_getaffinity(0))
    limit = cpu_limit(system, process)
    return available if limit is None else max(1, min(available, math.floor(limit)))


def _groups(system: Path, process: Path, controller: str) -> Iterator[Path]:
    """Our group's folder and those above it, innermost first, in the hierarchies that could hold the controller."""
    for line in (_read(process) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = system
        elif controller in controllers.split(","):
            top = next((p for p in (system / controllers, system / controller) if p.is_dir()), system / controller)
        else:
            continue
        group = top / path.lstrip("/")
        if not group.is_dir() or ".." in group.parts:
            group = top
        yield group
        while group != top:
            group = group.parent
            yield group


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
