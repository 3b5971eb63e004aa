"""An engine whose thread does not come back fails liveness; one that gets on, however slowly, does not."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from collections.abc import Sequence as Several
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import uvicorn

from springtide_server.app import AppOptions, ModelApp
from springtide_server.engine.batch import BatchEngine
from springtide_server.engine.batching import Limits
from springtide_server.engine.blocks import BlockPool, Copy
from springtide_server.engine.engine import QueueEngine, QueueSettings
from springtide_server.engine.generate import GenerateEngine
from springtide_server.engine.scheduler import StepLimits
from springtide_server.engine.sequence import Chosen, Sequence
from springtide_server.engine.tokenizer import Tokenizer
from springtide_server.engine.work import Delta, Embed, Generate, Request, Terms, Vectors
from springtide_server.metrics import Metrics
from tests.model_server.stand_ins import Letters, Plenty


class Blocking:
    """Both kinds of model. Each step waits until it is let through, once there is a gate."""

    context_length = 512
    packs = False
    device = None

    def __init__(self) -> None:
        self.pool, self.limits = BlockPool(32, 16), StepLimits(64, 4)
        self.end_tokens: frozenset[int] = frozenset()
        self.overlaps = False
        self.steps = 0
        self.gate: threading.Semaphore | None = None

    def step(self) -> None:
        self.steps += 1
        if self.gate:
            assert self.gate.acquire(timeout=60)

    def __call__(self, rows: Several[Several[int]]) -> list[bytes]:
        self.step()
        return [b"" for _ in rows]

    def launch(self, sequences: Several[Sequence], copies: Several[Copy]) -> Callable[[], list[Chosen]]:
        def wait() -> list[Chosen]:
            self.step()
            return [Chosen(one, 7, None) for one in sequences if one.completes]

        return wait

    def forget(self, sequence: Sequence) -> None: ...


@asynccontextmanager
async def serving(
    kind: str, hang_seconds: float
) -> AsyncIterator[tuple[QueueEngine[Any], Blocking, httpx.AsyncClient]]:
    """A server on a port of this machine, around a model of ours."""
    model, metrics = Blocking(), Metrics()
    loaded: Any = (model, cast(Tokenizer, Letters()))
    engine: QueueEngine[Any]
    if kind == "batch":
        engine = BatchEngine("m", lambda _: loaded, QueueSettings(), Limits(8, 100, 0), metrics, lambda _: Plenty())
    else:
        engine = GenerateEngine("m", lambda _: loaded, QueueSettings(), metrics)
    app = ModelApp("m", "Embed", engine, metrics, AppOptions(hang_seconds=hang_seconds))
    server = uvicorn.Server(uvicorn.Config(app.asgi, log_config=None, lifespan="off"))
    listener = socket.create_server(("127.0.0.1", 0))
    engine.start(lambda error: None)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=60) as client:
            await until(lambda: engine.state == "ready")
            yield engine, model, client
    finally:
        model.gate = None
        server.should_exit = True
        await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # another thread sets it
            await asyncio.sleep(0.01)


async def healthy(client: httpx.AsyncClient, code: int) -> str:
    """Wait for the status; the reason."""
    async with asyncio.timeout(60):
        while (response := await client.get("/healthz")).status_code != code:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return response.text


async def test_a_batch_that_never_ends() -> None:
    async with serving("batch", 0.3) as (engine, model, client):
        await asyncio.sleep(0.5)
        assert await healthy(client, 200) == "ok\n", "an idle engine isn't hung"
        model.gate = threading.Semaphore(0)
        job = engine.submit(Embed([[1]]), Terms(1))
        assert "in one step of the model for" in await healthy(client, 503)
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/v2/health/live")).json() == {"live": False}
        model.gate.release()
        assert [result async for result in job.results(Vectors)]
        assert await healthy(client, 200) == "ok\n"


async def test_steps_of_a_long_answer_are_counted_one_by_one() -> None:
    async with serving("generate", 1000) as (engine, model, _):
        model.gate = threading.Semaphore(0)
        request: Request = Generate([1], 4, temperature=0)
        job = engine.submit(request, Terms(1))
        for step in range(1, 5):
            await until(lambda step=step: model.steps == step)  # type: ignore[misc]
            began = time.monotonic()
            await until(lambda: engine.pulse.step_seconds > 0.1)
            model.gate.release()
            await until(lambda step=step: model.steps > step or engine.pulse.step_seconds == 0)  # type: ignore[misc]
            # A step begins before the model's code of it does, but after the last one's end.
            assert engine.pulse.step_seconds < time.monotonic() - began
        assert [result async for result in job.results(Delta)][-1].finish_reason == "length"
        await until(lambda: engine.pulse.step_seconds == 0)
        assert engine.pulse.worked_seconds >= 0.4
