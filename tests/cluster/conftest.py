"""What several files of tests on real nodes use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hack.cluster.spec import Spec

from .support import apply, delete


@pytest.fixture(scope="session")
def crashing(demo: Spec) -> Iterator[str]:
    """A ModelService whose server ends at once. Who looks at how that repeats has it made early, and looks late."""
    name = "unsound"
    apply(demo, name, runtime={"name": "ModelServer", "args": ["--no-such-flag"]})
    yield name
    delete(demo, name)
