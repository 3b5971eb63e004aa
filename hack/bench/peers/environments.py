"""An environment for each peer: its own packages at pinned versions, and torch and transformers of this project's.

`requirements/NAME.txt` holds what `uv pip compile` made of one line like `litserve==0.2.19`.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import sysconfig
from pathlib import Path

from hack.shell import Failure, cache_dir, locked, run, say, uv

HERE = Path(__file__).resolve().parent


def python(name: str) -> Path:
    """Return the interpreter of a peer's environment, made when first asked for.

    Raises Failure when its packages can't be installed.
    """
    pins = requirements(name)
    shared = sysconfig.get_path("purelib")
    key = hashlib.sha256(f"{pins}{shared}{sys.version}".encode()).hexdigest()[:12]
    folder = cache_dir("peers") / f"{name}-{key}"
    with locked(cache_dir("locks") / f"peer-{name}"):
        if not (folder / "complete").exists():
            say(f"installing {name} (once)")
            shutil.rmtree(folder, ignore_errors=True)
            run(uv(), "venv", "--quiet", "--python", sys.executable, folder)
            where = folder / "bin/python"
            run(uv(), "pip", "install", "--quiet", "--no-deps", "--python", where, "--requirements", "-", stdin=pins)
            # The peer's own packages come first in the search: this adds what it lacks, torch above all.
            own = run(where, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
            Path(own, "shared.pth").write_text(f"{shared}\n")
            (folder / "complete").touch()
    return folder / "bin/python"


def requirements(name: str) -> str:
    """Return a peer's pinned packages."""
    return (HERE / "requirements" / f"{name}.txt").read_text()


def version(name: str, package: str) -> str:
    """Return the pinned version of a package.

    Raises Failure where it isn't pinned.
    """
    for line in requirements(name).splitlines():
        found, _, number = line.partition("==")
        if found == package:
            return number
    raise Failure(f"hack/bench/peers/requirements/{name}.txt: has no {package}")
