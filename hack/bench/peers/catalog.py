"""The servers that are compared: how each is started, and which settings are tried to find its best."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from hack.bench.peers import environments
from hack.bench.peers.settings import VARIABLE, Settings

ROOT = Path(__file__).resolve().parents[3]
OURS = "springtide"
SETTINGS = ((1, 0), (8, 0), (32, 5))
FULL = tuple((rows, wait) for rows in (1, 8, 16, 32) for wait in (0, 2, 5, 10))


@dataclass(frozen=True)
class Kind:
    """A server. `knobs` are those of rows and wait that it has, `least` its smallest number of rows."""

    name: str
    package: str
    knobs: tuple[str, ...]
    least: int = 1

    def version(self) -> str:
        """Return the version that is measured."""
        return metadata.version(self.package) if self.name == OURS else environments.version(self.name, self.package)

    def grid(self, full: bool) -> list[tuple[int, int]]:
        """Return the (rows, wait in milliseconds) to try; what a server has no knob for is 1 or 0."""
        has_rows, has_wait = "rows" in self.knobs, "wait" in self.knobs
        # On few cores no batches at all may be the best. Then there is nothing to wait for.
        grid = [(rows, wait if has_wait else 0) for rows, wait in (FULL if full else SETTINGS) if rows > 1 or not wait]
        return list(dict.fromkeys((max(rows, self.least), wait) for rows, wait in (grid if has_rows else [(1, 0)])))

    def command(self, settings: Settings) -> list[str]:
        """Return the program and its arguments.

        Raises Failure when a peer's packages can't be installed.
        """
        if self.name != OURS:
            return [str(environments.python(self.name)), "-m", f"hack.bench.peers.apps.{self.name}"]
        words = [sys.executable, "-m", "springtide_server", "--task", "Embed", "--served-model-name", "minilm"]
        options = {
            "model": settings.model,
            "host": "127.0.0.1",
            "port": settings.port,
            "max-batch-size": settings.rows,
            "max-queue-delay-milliseconds": settings.wait_milliseconds,
            "request-timeout-milliseconds": settings.slo_milliseconds if settings.protect else 0,
            "drain-seconds": 0,
        }
        return [*words, *(f"--{name}={value}" for name, value in options.items())]

    def environment(self, settings: Settings) -> dict[str, str]:
        """Return what is added to this process' environment."""
        return {
            VARIABLE: settings.encode(),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'model_server'}",
            "OMP_NUM_THREADS": str(settings.threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "TMPDIR": settings.scratch,
            "BENTOML_HOME": settings.scratch,
            "BENTOML_DO_NOT_TRACK": "True",
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_failure_threshold": "1000",  # it is stopped while others are measured
            "SPT_NOENV": "1",  # Ray's processes keep their environment readable: it tells whose they are
        }


KINDS = {
    kind.name: kind
    for kind in (
        Kind(OURS, "springtide-model-server", ("rows", "wait")),
        Kind("litserve", "litserve", ("rows", "wait")),
        Kind("mosec", "mosec", ("rows", "wait")),
        Kind("bentoml", "bentoml", ("rows",), least=2),
        Kind("ray", "ray", ("rows", "wait")),
        Kind("fastapi", "fastapi", ()),
    )
}
