"""What the forecaster keeps in files, and what it does when they are damaged."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from springtide.forecast.checkpoint import Checkpoint, dump_checkpoint, pretrained
from springtide.forecaster.files import replace_file
from springtide.forecaster.memory import Memory
from springtide.forecaster.metrics import Fault
from tests.unit.forecast.services import observed


def other() -> Checkpoint:
    return dataclasses.replace(pretrained(), gram=2 * pretrained().gram)


def gram_of(memory: Memory) -> float:
    return float(memory.ensemble._checkpoint.gram[0, 0])


@pytest.fixture
def faults() -> list[Fault]:
    return []


def test_state_is_kept(tmp_path: Path, faults: list[Fault]) -> None:
    memory = Memory(tmp_path, None, faults.append)
    observed(memory.ensemble, [1.0, 2.0, 3.0])
    memory.save()
    assert (Memory(tmp_path, None, faults.append).ensemble.predict()["chat"] == memory.ensemble.predict()["chat"]).all()
    assert not faults
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_damaged_state_is_said_and_left(damage: bytes | None, tmp_path: Path, faults: list[Fault]) -> None:
    memory = Memory(tmp_path, None, faults.append)
    observed(memory.ensemble, [1.0, 2.0, 3.0])
    memory.save()
    whole = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "state.npz").write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert Memory(tmp_path, None, faults.append).ensemble.services == ()
    assert faults == ["CorruptState"]


def test_a_folder_that_is_gone_costs_the_state_only(tmp_path: Path, faults: list[Fault]) -> None:
    memory = Memory(tmp_path / "gone", None, faults.append)
    observed(memory.ensemble, [1.0])
    memory.save()
    assert faults == ["NotSaved"]
    assert "chat" in memory.ensemble.predict()


def test_a_checkpoint_is_taken_when_it_comes_and_when_it_changes(
    tmp_path: Path, faults: list[Fault], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "checkpoint.npz"
    memory = Memory(None, file, faults.append)
    assert memory.pretrained
    replace_file(file, lambda open_file: open_file.write(dump_checkpoint(other())))
    memory.look_for_checkpoint()
    assert not memory.pretrained
    assert gram_of(memory) == 2 * pretrained().gram[0, 0]
    memory.forget()
    assert gram_of(memory) == 2 * pretrained().gram[0, 0]
    replace_file(file, lambda open_file: open_file.write(dump_checkpoint(other())[:-100]))
    with caplog.at_level(logging.ERROR):
        memory.look_for_checkpoint()
        memory.look_for_checkpoint()
    assert faults == ["CorruptCheckpoint"]
    assert "the checkpoint that ships" in caplog.text
    assert memory.pretrained
    assert gram_of(memory) == pretrained().gram[0, 0]


def test_what_was_learned_of_services_survives_another_checkpoint(tmp_path: Path, faults: list[Fault]) -> None:
    file = tmp_path / "checkpoint.npz"
    memory = Memory(None, file, faults.append)
    observed(memory.ensemble, np.arange(1.0, 40.0))
    replace_file(file, lambda open_file: open_file.write(dump_checkpoint(other())))
    memory.look_for_checkpoint()
    observed(memory.ensemble, [40.0], first=39)
    assert "holt" in memory.ensemble.explain("chat"), "half an hour of history is still there"


def test_a_write_that_fails_leaves_the_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def fail(_: object) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        replace_file(file, fail)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]
