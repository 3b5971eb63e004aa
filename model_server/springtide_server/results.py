"""What the model makes of a request, for whichever API it came by."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from pydantic import TypeAdapter
from starlette.requests import ClientDisconnect, Request

from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Delta, Embed, Generate, Job, Terms, Vectors
from springtide_server.errors import RequestError
from springtide_server.leaving import left
from springtide_server.metrics import Metrics

if TYPE_CHECKING:
    from springtide_server.cache.cache import ResultCache

# Of a greedy answer nothing depends on these.
WITHOUT_EFFECT = {"temperature": 0, "seed": None, "top_p": 1.0}
DELTAS = TypeAdapter(list[Delta])


class Results:
    """Whole results, from the engine or the cache. Methods raise RequestError, or ClientDisconnect if nobody waits."""

    def __init__(self, engine: Engine, metrics: Metrics, cache: "ResultCache | None" = None) -> None:
        self.engine, self.metrics, self.cache = engine, metrics, cache

    async def vectors(self, request: Request, inputs: list[list[int]], terms: Terms) -> list[bytes]:
        """The embedding of each row of tokens: float32, little endian."""

        async def compute(some: list[list[int]]) -> list[bytes]:
            job = self.engine.submit(Embed(some), terms)
            self.metrics.prompt_tokens.inc(sum(map(len, some)))
            rows: dict[int, bytes] = {}
            async with until_disconnect(request, job, self.engine):
                async for result in job.results(Vectors):
                    rows.update(result.rows)
            return [rows[index] for index in range(len(some))]

        if self.cache is None:
            return await compute(inputs)
        return await self.cache.results(request, {}, inputs, terms, self.engine.precision, compute)

    async def deltas(self, request: Request, generate: Generate, terms: Terms) -> list[Delta]:
        """The pieces of the generated text."""

        async def compute() -> list[Delta]:
            job = self.engine.submit(generate, terms)
            self.metrics.prompt_tokens.inc(len(generate.prompt))
            async with until_disconnect(request, job, self.engine):
                return [delta async for delta in job.results(Delta)]

        async def compute_rows(rows: list[list[int]]) -> list[bytes]:
            return [DELTAS.dump_json(await compute()) for _ in rows]  # one row

        if self.cache is None:
            return await compute()
        if generate.temperature != 0:
            self.cache.bypass(request, 1)
            return await compute()
        parameters = {**asdict(generate), **WITHOUT_EFFECT, "prompt": None}
        rows = await self.cache.results(
            request, parameters, [generate.prompt], terms, self.engine.precision, compute_rows
        )
        return DELTAS.validate_json(rows[0])


@asynccontextmanager
async def until_disconnect(
    request: Request, job: Job, engine: Engine, only_failed: bool = False
) -> AsyncIterator[None]:
    """Cancel the job when the client leaves before the block ends, or when the block ends (or fails) before the job."""

    async def watch() -> None:
        try:
            await left(request)
        except ClientDisconnect as error:
            job.fail(error)

    watcher = asyncio.create_task(watch())
    done = False
    try:
        yield
        done = only_failed
    finally:
        watcher.cancel()
        if not done:
            engine.cancel(job)


def tokens_of(inputs: Sequence[str | list[int]], field: str, engine: Engine) -> list[list[int]]:
    """Each text tokenised, each row of tokens checked; RequestError (400) names FIELD[index]."""
    encoded = iter(engine.tokenizer.encode([item for item in inputs if isinstance(item, str)]))
    rows = [next(encoded) if isinstance(item, str) else item for item in inputs]
    for index, tokens in enumerate(rows):
        name = f"{field}[{index}]"
        if not tokens:
            raise RequestError(400, f"{name}: has no token that the model knows; leave it out", param=name)
        if len(tokens) > engine.context_length:
            raise too_long(name, len(tokens), engine.context_length)
        if max(tokens) >= engine.tokenizer.vocabulary:
            last = engine.tokenizer.vocabulary - 1
            raise RequestError(400, f"{name}: has the token {max(tokens)}; the model's last is {last}", param=name)
    return rows


def too_long(param: str, length: int, limit: int) -> RequestError:
    """The refusal of an input of so many tokens."""
    message = f"{param}: has {length} tokens, and the model's context is {limit} tokens; send a shorter text"
    return RequestError(400, message, param=param, code="context_length_exceeded")
