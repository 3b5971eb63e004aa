"""The bench of servers, in its short form: that it works and cleans up; it is no measurement."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.bench.peers import environments
from hack.bench.peers.settings import VARIABLE
from hack.shell import Failure

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "hack.bench.server", "--quick"]


@pytest.fixture(scope="module", autouse=True)
def peers() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores: one for the server and one for the load")
    try:
        for name in ("mosec", "fastapi"):
            environments.python(name)
    except Failure as failure:
        pytest.skip(f"packages of the peers can't be installed: {failure}")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A short path, since sockets are made below it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def left(scratch: Path) -> list[str]:
    """Processes whose settings name that folder."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            marks = [one for one in (folder / "environ").read_bytes().split(b"\0") if one.startswith(VARIABLE.encode())]
        except OSError:
            continue
        found += [folder.name for one in marks if str(scratch).encode() in one]
    return found


def test_quick(scratch: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for name in ("goodput_ratio_to_best_peer", "p99_ratio_to_best_peer_at_70_percent", "overload_goodput_fraction"):
        assert told[name] is None or told[name] >= 0
    assert 0 <= told["overload_top_class_attainment"] <= 1
    assert set(told["workloads"]) == {"mixed", "equal"}
    assert told["slo_milliseconds"] > 0
    assert set(told["servers"]) == {"springtide", "mosec", "fastapi"}
    for name, row in told["servers"].items():
        assert row["measured"], row["reason"]
        assert all(one["capacity_per_second"] > 0 for one in row["workloads"].values())
        assert len(row["workloads"]["mixed"]["rounds"]) == 1
        assert sum(row["overload"]["outcomes"].values()) > 0
        assert row["overload"]["memory_mebibytes"]["before"] > 0
        assert set(row["overload"]["attainment_by_class"]) <= {"critical", "standard", "background"}, name
    assert not left(scratch) and not list(scratch.iterdir())


def test_a_signal_ends_the_servers_too(scratch: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while not left(scratch):
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(300)
    finally:
        process.kill()
        process.communicate()
    assert not left(scratch) and not list(scratch.iterdir())


def test_a_peer_that_cant_be_installed_is_told_with_the_reason(scratch: Path, minilm: Path) -> None:
    cache = scratch / "cache" / "springtide"
    cache.mkdir(parents=True)
    (cache / "models").symlink_to(minilm.parent)
    environment = {**os.environ, "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(cache.parent), "UV": "/bin/false"}
    command = [*COMMAND, "--peers", "mosec"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "/bin/false" in told["servers"]["mosec"]["reason"]
    assert told["servers"]["springtide"]["measured"]
    assert told["goodput_ratio_to_best_peer"] is None
    assert 0 <= told["overload_top_class_attainment"] <= 1


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--peers", "torchserve"], "--peers torchserve"),
        (["--generator-cores", "0"], "--generator-cores"),
        (["--server-cores", "x"], "--server-cores x"),
        (["--rounds", "0"], "--rounds"),
        (["--nothing"], "--nothing"),
    ],
)
def test_bad_options_are_refused_by_name(words: list[str], names: str) -> None:
    done = subprocess.run([*COMMAND, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert names in done.stderr
    assert not done.stdout
