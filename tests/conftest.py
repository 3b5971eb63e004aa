"""Clusters that tests share. They are made when first asked for and taken away at the end; names start with `test-`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.cluster import lifecycle
from hack.cluster.spec import Spec, clusters, find

ROOT = Path(__file__).resolve().parents[1]
# Two checkouts can be tested side by side when one of them sets this, to something like "-2".
SUFFIX = os.environ.get("SPRINGTIDE_TEST_SUFFIX", "")


@pytest.fixture(scope="session")
def make_cluster() -> Iterator[Callable[[Spec], Spec]]:
    """Make a cluster of a shape; all that were made are taken away at the end of the run."""
    made: dict[str, Spec] = {}

    def make(wanted: Spec) -> Spec:
        for old in clusters():
            if old.name == wanted.name and old.name not in made:
                lifecycle.down(old)  # a run that was killed left it, in whatever state
        made[wanted.name] = lifecycle.up(wanted)
        return made[wanted.name]

    yield make
    for spec in made.values():
        lifecycle.down(spec)


@pytest.fixture(scope="session")
def demo() -> Iterator[Spec]:
    """The cluster that `make demo` makes, under a name of its own."""
    name = f"test-demo{SUFFIX}"
    environment = {**os.environ, "SPRINGTIDE_CLUSTER": name}
    for old in clusters():
        if old.name == name:
            lifecycle.down(old)
    made = subprocess.run(["make", "demo"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout + made.stderr
    assert "The capital of France is Paris" in made.stdout
    yield find(name)
    gone = subprocess.run(["make", "demo-down"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert gone.returncode == 0, gone.stderr
    assert not [spec for spec in clusters() if spec.name == name]


@pytest.fixture(scope="session")
def kubeconfig(make_cluster: Callable[[Spec], Spec]) -> Path:
    """Administrator's kubeconfig of a control plane without nodes."""
    return make_cluster(Spec(f"test-api{SUFFIX}", nodes=0)).kubeconfig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run last what looks at the whole run."""
    items.sort(key=lambda item: item.path.name == "test_least_privilege.py")
