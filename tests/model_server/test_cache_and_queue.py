"""What is cached is answered where the queue is full. The model is ours, Redis is real."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from springtide_server.app import ModelApp
from springtide_server.cache.cache import ResultCache
from springtide_server.cache.options import StoreSettings
from springtide_server.engine.batch import BatchEngine
from springtide_server.engine.batching import Limits
from springtide_server.engine.engine import QueueSettings
from springtide_server.metrics import Metrics
from tests.model_server.redis_process import RedisProcess


class Summing:
    """A vector of one number, the sum of the row; waits for `go`."""

    context_length = 512
    packs = False
    device = None

    def __init__(self) -> None:
        self.go, self.entered = threading.Event(), threading.Event()

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        self.entered.set()
        assert self.go.wait(60)
        return [sum(row).to_bytes(4, "little") for row in rows]


def body(*tokens: int) -> dict[str, Any]:
    return {"inputs": [{"name": "input_ids", "shape": [1, len(tokens)], "datatype": "INT64", "data": list(tokens)}]}


async def test_a_hit_needs_no_place_in_the_queue(tmp_path: Path) -> None:
    model, metrics = Summing(), Metrics()
    model.go.set()
    tokenizer = SimpleNamespace(encode=lambda texts: [], vocabulary=1000)
    loaded: Any = (model, tokenizer)
    memory: Any = SimpleNamespace(available=lambda: 1e15, begin=lambda: None, peak=lambda: None)
    engine = BatchEngine("m", lambda _: loaded, QueueSettings(places=1), Limits(8, 100, 0), metrics, lambda _: memory)
    with RedisProcess(tmp_path) as redis:
        cache = ResultCache(StoreSettings(redis.url, None, 100, 1000, 5.0), "Embed", CollectorRegistry())
        await cache.identify(tmp_path, "7")
        app = ModelApp("m", "Embed", engine, metrics, cache=cache)
        engine.start(lambda error: None)
        while engine.state != "ready":  # noqa: ASYNC110  # another thread sets it
            await asyncio.sleep(0.01)
        transport = httpx.ASGITransport(app.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://m", timeout=60) as client:

            async def ask(*tokens: int) -> httpx.Response:
                return await client.post("/v2/models/m/infer", json=body(*tokens))

            first = await ask(1, 2)
            async with asyncio.timeout(60):
                while (await ask(1, 2)).headers["cache-status"] != "springtide; hit":  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            model.entered.clear()
            model.go.clear()
            running = asyncio.create_task(ask(3))
            await asyncio.to_thread(model.entered.wait, 60)
            waiting = asyncio.create_task(ask(4))
            while not len(engine._queue):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            refused = await ask(5)
            assert (refused.status_code, set(refused.json())) == (429, {"error"})
            hit = await ask(1, 2)
            assert (hit.status_code, hit.json()) == (200, first.json())
            model.go.set()
            assert [(await task).status_code for task in (running, waiting)] == [200, 200]
