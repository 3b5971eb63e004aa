"""Mosec: HTTP in Rust, one worker process; protection is `--timeout` and `--capacity`.

A wait of 0 means its default of 10 ms, so 0 becomes 1.
"""

from __future__ import annotations

import os
from typing import Any

from mosec import Server, Worker

from hack.bench.peers.model import Encoder, answer
from hack.bench.peers.settings import Settings


class Embed(Worker):
    """The model; bodies are JSON by default."""

    def __init__(self) -> None:
        super().__init__()
        self._encode = Encoder(Settings.read())

    def forward(self, data: Any) -> Any:
        """Compute a batch; without batches there is one request."""
        if isinstance(data, list):
            return [answer(*one) for one in self._encode([asked["input"] for asked in data])]
        return answer(*self._encode([data["input"]])[0])


def main() -> None:
    """Serve until a signal."""
    settings = Settings.read()
    timeout = settings.slo_milliseconds if settings.protect else 600_000
    told = {
        "address": "127.0.0.1",
        "port": settings.port,
        "capacity": settings.queue,
        "timeout": timeout,
        "log_level": "warning",
    }
    os.environ.update({f"MOSEC_{name.upper()}": str(value) for name, value in told.items()})
    server = Server()
    server.append_worker(
        Embed,
        num=1,
        max_batch_size=settings.rows,
        max_wait_time=max(1, settings.wait_milliseconds),
        route="/v1/embeddings",
    )
    server.run()


if __name__ == "__main__":
    main()
