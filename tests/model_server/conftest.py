"""Real servers with real weights, one of each kind a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hack import models
from tests.model_server.fetching import Fetcher
from tests.model_server.hub import MODEL, REPO, USELESS, Hub
from tests.model_server.process import ServerProcess


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return models.folder("smollm2")


@pytest.fixture(scope="session")
def minilm() -> Path:
    return models.folder("minilm")


@pytest.fixture(scope="session")
def servers(smollm2: Path, minilm: Path) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    # Started together: most of a start is importing torch, and both wait for the disk.
    with (
        ServerProcess(smollm2, "smol", "Generate", "--max-queue", "2") as chat,
        ServerProcess(minilm, "mini", "Embed") as embed,
    ):
        yield chat, embed


@pytest.fixture(scope="session")
def chat(servers: tuple[ServerProcess, ServerProcess]) -> ServerProcess:
    return servers[0].wait_ready()


@pytest.fixture(scope="session")
def embed(servers: tuple[ServerProcess, ServerProcess]) -> ServerProcess:
    return servers[1].wait_ready()


@pytest.fixture(scope="module")
def started_hub() -> Iterator[Hub]:
    with Hub() as hub:
        assert isinstance(hub, Hub)
        yield hub


@pytest.fixture
def hub(started_hub: Hub) -> Hub:
    """Holds one model, and has been asked nothing."""
    started_hub.commits.clear()
    started_hub.branches.clear()
    started_hub.seen.clear()
    started_hub.push(REPO, MODEL | USELESS)
    return started_hub


@pytest.fixture
def fetcher(hub: Hub, tmp_path: Path) -> Iterator[Fetcher]:
    fetcher = Fetcher(tmp_path / "cache", {"HF_ENDPOINT": hub.url}, (hub.token, hub.signature))
    yield fetcher
    fetcher.kill_all()
