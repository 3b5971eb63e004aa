"""What several files of tests on real nodes use."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.images.catalog import ROOT

from .support import NAMESPACE, apply, delete, eventually, is_settled, scale


@pytest.fixture(scope="module")
def examples(demo: Spec) -> None:
    """Have both examples Ready with one replica, whatever other tests did to them."""
    kubectl(demo, "apply", f"--namespace={NAMESPACE}", f"--filename={ROOT}/examples")
    for name in "chat", "embed":
        scale(demo, name, 1)
        eventually(functools.partial(is_settled, demo, name), f"{name} to be Ready", 180)


@pytest.fixture(scope="session")
def crashing(demo: Spec) -> Iterator[str]:
    """A ModelService whose server ends at once. Who looks at how that repeats has it made early, and looks late."""
    name = "unsound"
    apply(demo, name, runtime={"name": "ModelServer", "args": ["--no-such-flag"]})
    yield name
    delete(demo, name)
