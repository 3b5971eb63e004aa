"""Ray Serve: one replica with `serve.batch`; protection is `max_queued_requests` and the proxy's request timeout."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from hack.bench.peers.model import Encoder, answer
from hack.bench.peers.settings import Settings

SETTINGS = Settings.read()


class Embed:
    """The model. It computes in a thread, so that the replica goes on to take requests."""

    def __init__(self) -> None:
        self._encode = Encoder(SETTINGS)

    @serve.batch(max_batch_size=SETTINGS.rows, batch_wait_timeout_s=SETTINGS.wait_milliseconds / 1000)
    async def embed(self, texts: list[str]) -> list[dict[str, Any]]:
        """Compute a batch."""
        return [answer(*one) for one in await asyncio.to_thread(self._encode, texts)]

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answer a request."""
        told: dict[str, Any] = await self.embed((await request.json())["input"])
        return told


deployment: Any = serve.deployment(
    num_replicas=1, max_ongoing_requests=max(16, 4 * SETTINGS.rows), max_queued_requests=SETTINGS.queue
)(Embed)


def main() -> None:
    """Serve until a signal."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: ray.shutdown())
    ray.init(num_cpus=2, include_dashboard=False, _temp_dir=SETTINGS.scratch, object_store_memory=100 * 1024 * 1024)
    timeout = SETTINGS.slo_milliseconds / 1000 if SETTINGS.protect else None
    serve.start(http_options={"host": "127.0.0.1", "port": SETTINGS.port, "request_timeout_s": timeout})
    serve.run(deployment.bind(), route_prefix="/v1/embeddings", blocking=True)


if __name__ == "__main__":
    main()
