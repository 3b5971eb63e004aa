"""The few things that every tool of hack/ does: say what happens, fail with one clear line, run a program."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class Failure(Exception):
    """Something went wrong that the user can act on: the message is all they need, without a traceback."""


def say(message: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(message, file=sys.stderr, flush=True)


def cache_dir(*parts: str) -> Path:
    """Return a folder of the per-user cache (it survives clones and clusters), made if absent."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "springtide"
    path = base.joinpath(*parts)
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None, stdin: str = "") -> str:
    """Run a program to its end and return its standard output; a failure carries the end of what it printed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words, cwd=cwd, env={**os.environ, **(env or {})}, input=stdin, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as error:
        raise Failure(f"{words[0]}: not found; is its package installed?") from error
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)} failed ({done.returncode}):\n{tail(done.stderr or done.stdout)}")
    return done.stdout


def uv() -> str:
    """Return the path of uv; `uv run` says which it is, otherwise it is found or installed."""
    return os.environ.get("UV") or run("sh", Path(__file__).parent / "uv.sh").strip()


def succeeds(*command: object) -> bool:
    """Run a program and tell whether it ended well; for questions, not for work."""
    return subprocess.run([str(word) for word in command], capture_output=True, check=False).returncode == 0


def tail(text: str, lines: int = 15) -> str:
    """Return the last lines of a text, where a program usually says what went wrong."""
    return "\n".join(text.strip().splitlines()[-lines:])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file lock, so that two runs never build or change the same thing at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run that holds {path}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
