"""The fetch as a child process."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 120  # reached only by a fetch that hangs


@dataclass
class Ended:
    """What is left of a fetch."""

    code: int
    stderr: str

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")]

    @property
    def messages(self) -> str:
        return "\n".join(f"{line['level']}: {line['message']}" for line in self.log)

    @property
    def reason(self) -> str:
        """The last line, without the program's name."""
        return self.stderr.splitlines()[-1].removeprefix("springtide-model-fetch: ")


@dataclass
class Fetcher:
    """Runs the program with a cache, and looks at every line for what must not be there."""

    cache: Path
    environment: dict[str, str]
    secrets: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    started: list["Running"] = field(default_factory=list)

    def start(self, uri: str, *options: str, link: str = "model", **environment: str) -> "Running":
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        program = [sys.executable, "-m", "springtide_server.fetch", "--uri", uri, "--cache", str(self.cache)]
        running = Running(
            [*self.prefix, *program, "--link", link, *options],
            {**kept, "HOME": "/tmp", **self.environment, **environment},  # noqa: S108
            self.secrets,
        )
        self.started.append(running)
        return running

    def run(self, uri: str, *options: str, link: str = "model", **environment: str) -> Ended:
        return self.start(uri, *options, link=link, **environment).wait()

    def link(self, name: str = "model") -> Path:
        return self.cache / "links" / name

    def hub(self) -> Path:
        """The folder of the tests' hub, which is not huggingface.co."""
        (found,) = self.cache.glob("hub-*")
        return found

    def content(self, name: str = "model") -> dict[str, bytes]:
        """What a server finds behind the link."""
        return tree(self.link(name))

    def kill_all(self) -> None:
        for running in self.started:
            running.kill()


class Running:
    """A fetch that may still go on; its stderr is in a file."""

    def __init__(self, command: list[str], environment: dict[str, str], secrets: tuple[str, ...]) -> None:
        self._secrets = secrets
        self._stderr = Path(f"/tmp/springtide-fetch-{os.getpid()}-{id(self)}.log")  # noqa: S108
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(command, env=environment, stderr=stderr, stdout=subprocess.PIPE)

    def stderr(self) -> str:
        return self._stderr.read_text()

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, f"the fetch ended:\n{self.stderr()}"
            assert time.monotonic() < deadline, f"it didn't come to that:\n{self.stderr()}"
            time.sleep(0.02)

    def wait(self) -> Ended:
        try:
            self.output = self.process.communicate(timeout=SECONDS)[0].decode()
        finally:
            self.process.kill()
        ended = Ended(self.process.returncode, self.stderr())
        self._stderr.unlink()
        leaked = [secret for secret in self._secrets if secret in ended.stderr]
        assert not leaked, f"{leaked} in:\n{ended.stderr}"
        assert "Traceback" not in ended.stderr and '"traceback"' not in ended.stderr, ended.stderr
        return ended

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self._stderr.unlink(missing_ok=True)


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder, by path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def complete_files(cache: Path) -> int:
    """How many files are complete."""
    return sum(not path.name.endswith(".incomplete") for path in cache.rglob("blobs/*"))


def partial_bytes(cache: Path) -> int:
    """How much there is of files that are not complete."""
    total = 0
    for path in cache.rglob("*.incomplete"):
        with contextlib.suppress(FileNotFoundError):  # it has just been completed
            total += path.stat().st_size
    return total
