"""Answering requests for embeddings, and what both kinds of answers have in common."""

import asyncio
import base64
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Embed, Job, Terms, Vectors
from springtide_server.errors import RequestError
from springtide_server.metrics import Metrics
from springtide_server.protocol import EmbeddingRequest


async def embeddings(
    request: Request, asked: EmbeddingRequest, terms: Terms, engine: Engine, metrics: Metrics
) -> Response:
    """A vector for each input."""
    inputs = await asyncio.to_thread(lambda: list(_tokens(asked, engine)))
    job = engine.submit(Embed(inputs), terms)
    count = sum(map(len, inputs))
    metrics.prompt_tokens.inc(count)
    rows: dict[int, bytes] = {}
    async with until_disconnect(request, [job], engine):
        async for result in job.results(Vectors):
            rows.update(result.rows)
    encode = _base64 if asked.encoding_format == "base64" else _floats
    data = [{"object": "embedding", "index": i, "embedding": encode(rows[i])} for i in range(len(inputs))]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return JSONResponse({"object": "list", "data": data, "model": asked.model, "usage": usage})


@asynccontextmanager
async def until_disconnect(
    request: Request, jobs: Sequence[Job], engine: Engine, only_failed: bool = False
) -> AsyncIterator[None]:
    """Cancel the jobs when the client leaves before the block ends, or when the block ends (or fails) before them."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        for job in jobs:
            job.fail(ClientDisconnect())

    watcher = asyncio.create_task(watch())
    done = False
    try:
        yield
        done = only_failed
    finally:
        watcher.cancel()
        for job in () if done else jobs:
            engine.cancel(job)


def _tokens(asked: EmbeddingRequest, engine: Engine) -> Iterator[list[int]]:
    encoded = iter(engine.tokenizer.encode([item for item in asked.input if isinstance(item, str)]))
    for index, item in enumerate(asked.input):
        name = f"input[{index}]"
        tokens = next(encoded) if isinstance(item, str) else item
        if not tokens:
            raise RequestError(400, f"{name}: has no token that the model knows; leave it out", param=name)
        if len(tokens) > engine.context_length:
            raise too_long(name, len(tokens), engine.context_length)
        if max(tokens) >= engine.tokenizer.vocabulary:
            last = engine.tokenizer.vocabulary - 1
            raise RequestError(400, f"{name}: has the token {max(tokens)}; the model's last is {last}", param=name)
        yield tokens


def too_long(param: str, length: int, limit: int) -> RequestError:
    """The refusal of a text that the model can't read."""
    message = f"{param}: has {length} tokens, and the model's context is {limit} tokens; send a shorter text"
    return RequestError(400, message, param=param, code="context_length_exceeded")


def _floats(row: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(row) // 4}f", row))


def _base64(row: bytes) -> str:
    return base64.b64encode(row).decode("ascii")
