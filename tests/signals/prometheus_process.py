"""A real Prometheus as a child process, with the chart's own rules and scrape configuration."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hack.cluster import prometheus
from hack.packages import need
from tests.signals.exporters import Exporter


class PrometheusProcess:
    """Started by `with`, on a free port, with a folder of its own; killed at the end.

    It scrapes and evaluates each second. Its targets come from a file instead of from an API server, with the labels
    that an API server's pods would have. `past` are lines in the OpenMetrics format, which it has when it starts.
    """

    def __init__(self, folder: Path, *jobs: dict[str, Any], web: str = "", past: Iterable[str] = ()) -> None:
        self._folder = folder
        self._jobs = jobs
        self._web = web
        self._past = past
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "PrometheusProcess":
        need(*prometheus.PACKAGES)
        prometheus.configure(self._folder, every="1s", jobs=self._jobs)
        if self._past:
            prometheus.fill(self._folder, self._past)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def scrape(self, jobs: dict[str, Iterable[Exporter]]) -> None:
        """Name the targets of each job; a job of the chart that is not named has none."""
        for job in ("springtide-model-servers", "springtide-gateways", *(one["job_name"] for one in self._jobs)):
            prometheus.set_targets(self._folder, job, [exporter.target for exporter in jobs.get(job, ())])

    def start(self) -> None:
        words = prometheus.command(self._folder, f"127.0.0.1:{self.port}")
        if self._web:
            (self._folder / "web.yml").write_text(self._web)
            words.append(f"--web.config.file={self._folder / 'web.yml'}")
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not prometheus.ready(self.url):
            assert self.process.poll() is None and time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it, and wait until each of its threads has stopped: until then some would answer."""
        os.kill(self.process.pid, signal.SIGSTOP)
        while not all(_stopped(thread) for thread in Path(f"/proc/{self.process.pid}/task").iterdir()):
            time.sleep(0.01)

    def thaw(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)


def _stopped(thread: Path) -> bool:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "T"
