"""What a fetch says about a volume that is full, fills up, or can't be written."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.model_server.faulty import Fault
from tests.model_server.fetching import Fetcher
from tests.model_server.hub import MODEL, REPO, URI, Hub

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="needs root, to mount")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    volume = tmp_path / "volume"
    volume.mkdir()
    _mount("-t", "tmpfs", "-o", "size=4m", "none", str(volume))
    yield volume
    subprocess.run(["umount", "--lazy", volume], check=True)


@pytest.fixture
def fetcher(hub: Hub, volume: Path) -> Iterator[Fetcher]:
    fetcher = Fetcher(volume, {"HF_ENDPOINT": hub.url})
    yield fetcher
    fetcher.kill_all()


def test_too_small_a_volume_is_told_before_anything_is_fetched(hub: Hub, volume: Path, fetcher: Fetcher) -> None:
    _mount("-o", "remount,size=2m", str(volume))
    ended = fetcher.run(URI)
    assert ended.code == 2 and ended.reason.startswith(
        f"no space left on {volume}: {URI} needs 3.0 MB, 2.1 MB are free;"
    )
    assert not hub.asked("/resolve/")


def test_a_volume_that_fills_up_meanwhile(hub: Hub, volume: Path, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/cdn/", hold_at=1_000_000)) as fault:
        running = fetcher.start(URI)
        running.wait_for(fault.held.is_set)
        subprocess.run(["dd", "if=/dev/zero", f"of={volume}/filler", "bs=64k"], stderr=subprocess.DEVNULL)
    ended = running.wait()
    assert ended.code == 2 and ended.reason.startswith(f"no space left on {volume}; enlarge the claim"), ended.stderr
    assert not fetcher.link().exists()
    (volume / "filler").unlink()
    assert fetcher.run(URI).code == 0 and fetcher.content() == MODEL


def test_a_volume_that_is_read_only(hub: Hub, volume: Path, fetcher: Fetcher) -> None:
    commit = hub.branches[REPO, "main"]
    assert fetcher.run(URI, "--revision", commit).code == 0
    _mount("-o", "remount,ro", str(volume))
    # enough for what is there
    assert fetcher.run(URI, "--revision", commit).code == 0
    hub.push("springtide/other", MODEL | {"config.json": b'{"other": true}'})
    ended = fetcher.run("hf://springtide/other")
    assert ended.code == 2 and ended.reason == f"{volume} is read-only; mount the cache writable for this container"


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
