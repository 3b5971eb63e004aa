"""What only loading can find out about a folder."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from springtide_server.engine.load import load
from springtide_server.engine.settings import GenerateSettings
from springtide_server.errors import ModelError
from springtide_server.precision import PrecisionPolicy
from tests.model_server.process import ServerProcess


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text())
    path.unlink()  # it may be a link to the original
    path.write_text(json.dumps(change(value)))


@pytest.fixture
def folder(minilm: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(minilm, tmp_path / "model", copy_function=os.symlink))


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as refused:
        load(folder, "Embed", PrecisionPolicy(), GenerateSettings(), lambda name: nullcontext())
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_tensors_that_are_missing_are_not_made_up(folder: Path) -> None:
    edit(folder / "config.json", lambda config: {**config, "num_hidden_layers": 7})
    assert refusal(folder).startswith(f"{folder} lacks 16 tensors, the first is encoder.layer.6.")


def test_modules_that_are_not_done_are_refused(folder: Path) -> None:
    dense = {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"}
    edit(folder / "modules.json", lambda modules: [*modules, dense])
    assert "modules.json asks for the module Dense" in refusal(folder)


def test_poolings_that_are_not_done_are_refused(folder: Path) -> None:
    modes = {"pooling_mode_mean_tokens": False, "pooling_mode_max_tokens": True}
    pooling = folder / "1_Pooling" / "config.json"
    edit(pooling, lambda config: {**config, **modes})
    assert f"{pooling} asks for the pooling" in refusal(folder)


def test_a_chat_model_without_a_template_is_refused(smollm2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(smollm2, tmp_path / "model", copy_function=os.symlink))
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has no chat template"):
        load(folder, "Generate", PrecisionPolicy(), GenerateSettings(), lambda name: nullcontext())


def test_weights_have_the_format_that_was_asked_for(minilm: Path) -> None:
    with ServerProcess(minilm, "embed", "Embed", "--precision", "BF16") as server:
        server.wait_ready()
        assert next(line["precision"] for line in server.log() if line["message"] == "weights loaded") == "BF16"
        vector = server.post("/v1/embeddings", input="high tide").json()["data"][0]["embedding"]
    assert sum(x * x for x in vector) == pytest.approx(1, abs=0.01)
