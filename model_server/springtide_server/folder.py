"""What can be told about a model folder from its files alone, without torch.

A model that is half copied or of another kind is the most frequent reason for a server that doesn't start, so each case
has its own message, which names the file.
"""

import json
import os
from pathlib import Path
from typing import Any

from springtide_server.errors import ModelError
from springtide_server.protocol import Task

COPY_AGAIN = "copy the model again"
# Generation needs a language-model head; these are the endings of the classes that have one.
GENERATING = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")


def check(folder: Path, task: Task) -> None:
    """Raise ModelError unless the folder holds a whole Hugging Face model that fits the task."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is not a folder; mount the model there or correct --model")
    try:
        present = any(folder.iterdir())
    except PermissionError:
        raise ModelError(f"{folder} can't be read by user {os.getuid()}; give that user access to the model") from None
    if not present:
        raise ModelError(f"{folder} is empty; put a Hugging Face model folder there or correct --model")
    config = read_json(folder / "config.json")
    if config is None:
        raise ModelError(f"{folder} has no config.json, so it is not a Hugging Face model folder; correct --model")
    _check_task(folder, config, task)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.txt", "vocab.json")):
        raise ModelError(f"{folder} has no tokenizer.json; {COPY_AGAIN} with its tokenizer files")
    for path in _weights(folder):
        _check_safetensors(path)


def read_json(path: Path) -> Any:
    """The file's value, or None when there is no such file; ModelError when it can't be read as JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}; check the mount and its rights") from None
    except ValueError:
        raise ModelError(f"{path} is not JSON; {COPY_AGAIN}") from None


def _check_task(folder: Path, config: Any, task: Task) -> None:
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{folder / 'config.json'} names no model_type; {COPY_AGAIN} in Hugging Face's format")
    names = config.get("architectures") or []
    generating = any(name.endswith(GENERATING) for name in names)
    if task == "Generate" and not generating:
        raise ModelError(
            f"{folder} holds {', '.join(names) or 'no architecture'}, which can't generate; use --task Embed"
        )
    if task == "Embed" and generating and not (folder / "modules.json").is_file():
        raise ModelError(f"{folder} holds {', '.join(names)} without modules.json, a chat model; use --task Generate")


def _weights(folder: Path) -> list[Path]:
    index_path = folder / "model.safetensors.index.json"
    index = read_json(index_path)
    if index is None:
        if not (folder / "model.safetensors").is_file():
            raise ModelError(f"{folder} has no model.safetensors; convert the weights to safetensors")
        return [folder / "model.safetensors"]
    try:
        paths = [folder / name for name in sorted(set(index["weight_map"].values()))]
    except (TypeError, KeyError, AttributeError):
        raise ModelError(f"{index_path} has no weight_map; {COPY_AGAIN}") from None
    for path in paths:
        if not path.is_file():
            raise ModelError(f"{path} is missing, though {index_path.name} names it; {COPY_AGAIN}")
    return paths


def _check_safetensors(path: Path) -> None:
    """The header gives the length that the file must have: 8 bytes, the header itself, the tensors."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
            header = file.read(min(header_size, 100_000_000))
    except OSError as error:
        raise ModelError(f"{path} can't be read: {error.strerror}; check the mount and its rights") from None
    if size < 8 + header_size < 100_000_000:
        raise ModelError(f"{path} is truncated ({size} bytes, shorter than its own header); {COPY_AGAIN}")
    try:
        tensors = {name: value for name, value in json.loads(header).items() if name != "__metadata__"}
        expected = 8 + header_size + max((value["data_offsets"][1] for value in tensors.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ModelError(f"{path} is not a safetensors file (is it a Git LFS pointer?); {COPY_AGAIN}") from None
    if size != expected:
        fault = "truncated" if size < expected else "too long"
        raise ModelError(f"{path} is {fault}: {size} bytes, its header says {expected}; {COPY_AGAIN}")
