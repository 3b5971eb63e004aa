"""A server as processes of this machine: started on its cores, stopped and continued, watched, and ended whole."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from hack.bench.peers.catalog import Kind
from hack.bench.peers.settings import VARIABLE, Settings
from hack.shell import Failure, tail

START_SECONDS = 240  # on a busy machine; reached only by a server that will never answer
END_SECONDS = 10
_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_QUESTION = json.dumps({"model": "minilm", "input": "way"}).encode()


class Server:
    """A running server: `with Server(...) as server`. All of its processes carry its settings in their environment."""

    def __init__(self, kind: Kind, settings: Settings, cores: str) -> None:
        """Start it on the cores, a list like taskset's.

        Raises Failure when it can't be installed.
        """
        self.kind, self.settings = kind, settings
        self.url = f"http://127.0.0.1:{settings.port}"
        self._mark = f"{VARIABLE}={settings.encode()}".encode()
        self._log = Path(settings.scratch, f"{kind.name}-{settings.port}.log")
        command = ["taskset", "--cpu-list", cores, *kind.command(settings)]
        environment = {**os.environ, **kind.environment(settings)}
        with self._log.open("wb") as log:
            # Its scratch folder is where a server may leave what it likes.
            self._process = subprocess.Popen(
                command, env=environment, cwd=settings.scratch, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    def wait_ready(self) -> Server:
        """Return once it answers the API.

        Raises Failure with the end of its log when it ends or takes too long.
        """
        deadline = time.monotonic() + START_SECONDS
        while (lacks := self._lacks()) is not None:
            if self._process.poll() is not None:
                raise Failure(f"it ended with exit code {self._process.returncode}:\n{self._told()}")
            if time.monotonic() > deadline:
                raise Failure(f"it did not answer within {START_SECONDS} s: {lacks}\n{self._told()}")
            time.sleep(0.1)
        return self

    def processes(self) -> list[int]:
        """Return the ids of all its processes, also of those that left its process group."""
        found = []
        for folder in _PROC.iterdir():
            with contextlib.suppress(OSError):
                if folder.name.isdecimal() and self._mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def pause(self) -> None:
        """Take the processor from it, so that it doesn't disturb others that are measured."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Return the processor time that its living processes have used."""
        ticks = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / _TICK

    def memory_mebibytes(self) -> float:
        """Return what its processes have resident, pages of files left out."""
        kibibytes = 0
        for process in self.processes():
            with contextlib.suppress(OSError):
                for line in (_PROC / str(process) / "status").read_text().splitlines():
                    if line.startswith(("RssAnon:", "RssShmem:")):
                        kibibytes += int(line.split()[1])
        return kibibytes / 1024

    def end(self) -> None:
        """End all its processes, and return when none is left."""
        self.resume()
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        while self.processes():
            self._process.poll()
            if time.monotonic() > deadline:
                self._send(signal.SIGKILL)
            time.sleep(0.1)
        self._process.wait()

    def _send(self, number: signal.Signals) -> None:
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _lacks(self) -> str | None:
        """What is wrong with its answer to one text; nothing when it is good."""
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{self.url}/v1/embeddings", _QUESTION, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(asked, timeout=10) as response:  # noqa: S310
                return None if json.load(response)["data"][0]["embedding"] else "no vector"
        except urllib.error.HTTPError as error:
            return f"{error.code}: {error.read(200)!r}"
        except (OSError, ValueError, LookupError, TypeError) as error:
            return str(error)

    def _told(self) -> str:
        return tail(self._log.read_text(errors="replace"), 8)


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
