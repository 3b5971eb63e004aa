"""The identity of a model and of this software: hashes of the files that decide what is answered."""

import hashlib
import os
from pathlib import Path

import springtide_server

SUFFIXES = (".json", ".safetensors", ".jinja", ".txt", ".model")


def release() -> str:
    """That of our own source: a change of it may change results, and a number of a version may be forgotten."""
    return content_of(Path(springtide_server.__file__).parent, (".py",))


def content_of(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> str:
    """Equal for folders with the same files, wherever and whenever they were copied. Reads all of the weights.

    Names, sizes and times would not do: two fine-tunes of one model have the same names, sizes and headers, and each
    copy of one model has other times.
    """
    total = hashlib.sha256()
    paths = [Path(top, name) for top, _, names in os.walk(folder) for name in names if name.endswith(suffixes)]
    for path in sorted(paths):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.relative_to(folder)}\0{digest}\n".encode())
    return f"sha256:{total.hexdigest()}"
