"""Trees as kernels show them, written into a temporary folder."""

import os
from pathlib import Path

import pytest

from springtide_server import cgroup


def tree(root: Path, membership: str, **files: str) -> tuple[Path, Path]:
    system, process = root / "sys", root / "self"
    system.mkdir()
    process.write_text(membership)
    for name, text in files.items():
        path = system / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return system, process


@pytest.fixture
def v2(tmp_path: Path) -> tuple[Path, Path]:
    """In a container with its own cgroup namespace."""
    return tree(
        tmp_path,
        "0::/\n",
        cpu_dot_max="150000 100000",
        memory_dot_max="2147483648",
        memory_dot_current="1048576",
        memory_dot_stat="anon 4096\ninactive_file 8192\nactive_file 1",
    )


@pytest.fixture
def v1(tmp_path: Path) -> tuple[Path, Path]:
    """In a container that sees the host's paths, which aren't mounted."""
    pod = "/kubepods/burstable/pod1/c1"
    return tree(
        tmp_path,
        f"5:memory:{pod}\n4:cpu,cpuacct:{pod}\n1:name=systemd:{pod}\n",
        **{
            "cpu,cpuacct__cpu_dot_cfs_quota_us": "50000",
            "cpu,cpuacct__cpu_dot_cfs_period_us": "100000",
            "memory__memory_dot_limit_in_bytes": "536870912",
            "memory__memory_dot_usage_in_bytes": "4096",
            "memory__memory_dot_stat": "inactive_file 1\ntotal_inactive_file 2048",
        },
    )


def test_v2(v2: tuple[Path, Path]) -> None:
    assert cgroup.cpu_limit(*v2) == 1.5
    assert (cgroup.memory_limit(*v2), cgroup.memory_usage(*v2)) == (2147483648, 1048576)
    assert cgroup.memory_reclaimable(*v2) == 8192


def test_v1(v1: tuple[Path, Path]) -> None:
    assert cgroup.cpu_limit(*v1) == 0.5
    assert (cgroup.memory_limit(*v1), cgroup.memory_usage(*v1)) == (536870912, 4096)
    assert cgroup.memory_reclaimable(*v1) == 2048  # of the groups below too, as the use is


def test_no_limit_v2(tmp_path: Path) -> None:
    place = tree(tmp_path, "0::/\n", cpu_dot_max="max 100000", memory_dot_max="max")
    assert (cgroup.cpu_limit(*place), cgroup.memory_limit(*place), cgroup.memory_usage(*place)) == (None, None, None)


def test_no_limit_v1(tmp_path: Path) -> None:
    files = {"cpu__cpu_dot_cfs_quota_us": "-1", "memory__memory_dot_limit_in_bytes": "9223372036854771712"}
    place = tree(tmp_path, "2:memory:/\n1:cpu:/\n", **files)
    assert (cgroup.cpu_limit(*place), cgroup.memory_limit(*place)) == (None, None)


def test_the_smallest_limit_above_us_counts(tmp_path: Path) -> None:
    files = {
        "pod__cpu_dot_max": "200000 100000",
        "pod__c__cpu_dot_max": "max 100000",
        "pod__memory_dot_max": "1000",
        "pod__c__memory_dot_max": "2000",
        "pod__memory_dot_current": "900",
        "pod__c__memory_dot_current": "800",
    }
    place = tree(tmp_path, "0::/pod/c\n", **files)
    assert (cgroup.cpu_limit(*place), cgroup.memory_limit(*place), cgroup.memory_usage(*place)) == (2.0, 1000, 800)


def test_no_cgroup_at_all(tmp_path: Path) -> None:
    nowhere = tmp_path / "sys", tmp_path / "self"
    assert cgroup.cpu_limit(*nowhere) is None
    assert cgroup.memory_reclaimable(*nowhere) == 0
    assert cgroup.threads(*nowhere) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("quota", "threads"), [("50000", 1), ("100000", 1), ("199999", 1)])
def test_threads_are_whole_cpus_and_at_least_one(tmp_path: Path, quota: str, threads: int) -> None:
    assert cgroup.threads(*tree(tmp_path, "0::/\n", cpu_dot_max=f"{quota} 100000")) == threads


def test_threads_are_not_more_than_the_cpus(tmp_path: Path) -> None:
    place = tree(tmp_path, "0::/\n", cpu_dot_max="999900000 100000")
    assert cgroup.threads(*place) == len(os.sched_getaffinity(0))
