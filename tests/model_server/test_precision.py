"""Precisions with real models: what is measured at load, what follows from it, and weights that are broken."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from springtide_server.engine.load import load
from springtide_server.engine.settings import GenerateSettings
from springtide_server.errors import ModelError
from springtide_server.precision import Outcome, PrecisionPolicy
from tests.model_server.process import START_SECONDS, ServerProcess

TEXTS = ["high tide", "The boats lie on the sand until the water comes back.", "7 % of 350"]
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def changed(minilm: Path, tmp_path: Path) -> Callable[[Callable[[Tensors], None]], Path]:
    """Gives a folder with all-MiniLM-L6-v2, its weights changed."""

    def change(edit: Callable[[Tensors], None]) -> Path:
        folder = Path(shutil.copytree(minilm, tmp_path / "model", copy_function=os.symlink))
        weights = folder / "model.safetensors"
        tensors = load_file(weights)
        edit(tensors)
        weights.unlink()
        save_file(tensors, weights, metadata={"format": "pt"})
        return folder

    return change


def outlying(tensors: Tensors) -> None:
    """A feature that is always 0 gets large weights: nothing changes, but 8 bits hold little else beside them."""
    for number in range(6):
        layer = f"encoder.layer.{number}."
        for part in ("weight", "bias"):
            tensors[f"{layer}attention.output.LayerNorm.{part}"][7] = 0
        tensors[f"{layer}intermediate.dense.weight"][:, 7] = 300


def vectors(server: ServerProcess) -> Any:
    response = server.post("/v1/embeddings", input=TEXTS)
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]])


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "springtide_server", "--model", str(folder), "--served-model-name", "m"]
    command += ["--task", "Embed", "--host", "127.0.0.1", "--port", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=START_SECONDS, check=False)


@pytest.mark.parametrize("precision", ["INT8", "W8A8"])
def test_an_encoder_of_8_bits_gives_nearly_the_same_vectors(embed: ServerProcess, minilm: Path, precision: str) -> None:
    with ServerProcess(minilm, "mini", "Embed", "--precision", precision) as server:
        given = vectors(server.wait_ready())
        metrics = server.client.get("/metrics").text
        quantised = next(line for line in server.log() if line["message"] == "quantised")
    assert (given * vectors(embed)).sum(1).min() > 0.98
    assert f'springtide_precision_info{{asked="{precision}",used="{precision}"}} 1.0' in metrics
    drop = next(line for line in metrics.splitlines() if line.startswith("springtide_precision_drop_ratio{"))
    assert 0 < float(drop.split()[1]) <= 0.01
    assert quantised["layers"] == 37 and quantised["bytes"] < 0.26 * quantised["bytes_before"]


def test_a_language_model_of_8_bits_still_knows_the_capital(smollm2: Path) -> None:
    with ServerProcess(smollm2, "smol", "Generate", "--precision", "INT8") as server:
        server.wait_ready()
        answer = server.ask("What is the capital of France?", max_tokens=16).json()
        metrics = server.client.get("/metrics").text
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert 'springtide_precision_info{asked="INT8",used="INT8"} 1.0' in metrics


def test_a_model_that_8_bits_wreck_is_served_as_it_was(
    changed: Callable[[Callable[[Tensors], None]], Path], embed: ServerProcess
) -> None:
    with ServerProcess(changed(outlying), "mini", "Embed", "--precision", "INT8") as server:
        given = vectors(server.wait_ready())
        metrics = server.client.get("/metrics").text
        (warning,) = [line for line in server.log() if line["level"] == "warning"]
    assert 'springtide_precision_info{asked="INT8",used="FP32"} 1.0' in metrics
    assert warning["message"] == "accuracy drops too much: falling back"
    assert warning["precision"] == "INT8" and warning["used"] == "FP32" and warning["drop_percent"] > 1
    assert np.isfinite(given).all() and given.shape == vectors(embed).shape


def test_a_model_that_8_bits_wreck_is_refused_where_there_is_no_fallback(
    changed: Callable[[Callable[[Tensors], None]], Path],
) -> None:
    folder = changed(outlying)
    ended = run(folder, "--precision", "INT8", "--precision-fallback", "None")
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert f"{folder} loses " in last and "of its accuracy in INT8, more than 1 %" in last


def test_weights_that_are_no_numbers_are_refused_by_name(
    changed: Callable[[Callable[[Tensors], None]], Path],
) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors["encoder.layer.3.output.dense.weight"][5, 6] = float("nan")

    folder = changed(spoil)
    with pytest.raises(ModelError) as refused:
        load(folder, "Embed", PrecisionPolicy(), GenerateSettings(), lambda name: nullcontext())
    named = "the tensor encoder.layer.3.output.dense.weight holds NaN or infinity in FP32"
    assert str(refused.value).startswith(f"{folder}: {named}")


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_results_that_are_no_numbers_are_refused(
    changed: Callable[[Callable[[Tensors], None]], Path], precision: Any
) -> None:
    def spoil(tensors: Tensors) -> None:
        tensors["embeddings.LayerNorm.weight"][:] = 3e38 if precision == "INT8" else 6e4
        tensors["embeddings.LayerNorm.bias"][:] = 3e38 if precision == "INT8" else 6e4

    with pytest.raises(ModelError, match=rf"computes NaN or infinity in {'FP32' if precision == 'INT8' else 'FP16'}"):
        load(changed(spoil), "Embed", PrecisionPolicy(precision), GenerateSettings(), lambda name: nullcontext())


def test_what_came_of_it_is_reported(minilm: Path) -> None:
    seen: list[Outcome] = []
    load(minilm, "Embed", PrecisionPolicy(), GenerateSettings(), lambda name: nullcontext(), seen.append)
    assert seen == [Outcome("Auto", "FP32", None)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--precision", "INT4"], "--precision: invalid choice: 'INT4'"),
        (["--precision-max-drop-percent", "-1"], "--precision-max-drop-percent: -1 is not between 0 and 100"),
        (["--precision-max-drop-percent", "nan"], "--precision-max-drop-percent: nan is not between 0 and 100"),
        (["--precision-fallback", "FP8"], "--precision-fallback: invalid choice: 'FP8'"),
        (["--task", "Generate", "--compile"], "--compile: is for --task Embed"),
    ],
)
def test_wrong_options_are_refused_by_name(minilm: Path, arguments: list[str], said: str) -> None:
    ended = run(minilm, *arguments)
    assert ended.returncode == 2
    assert said in ended.stderr


def test_compiling_without_a_compiler_is_refused(minilm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ModelError, match="--compile needs a compiler, and no-such-compiler isn't installed"):
        load(minilm, "Embed", PrecisionPolicy(compile=True), GenerateSettings(), lambda name: nullcontext())
