"""What the model makes of a request, for whichever API it came by."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
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
WITHOUT_EFFECT = {"temperature": 0, "seed": None, "top_p": 1.0, "top_k": 0}
DELTAS = TypeAdapter(list[Delta])


class Results:
    """Whole results, from the engine or the cache. Methods raise RequestError, or ClientDisconnect if nobody waits."""

    def __init__(self, engine: Engine, metrics: Metrics, cache: "ResultCache | None" = None) -> None:
        self.engine, self.metrics, self._cache = engine, metrics, cache

    @property
    def cache(self) -> "ResultCache | None":
        """None also while the policy turns it off."""
        return None if "ResultCache" in self.engine.features_off else self._cache

    async def vectors(self, request: Request, inputs: list[list[int]], terms: Terms) -> list[bytes]:
        """The embedding of each row of tokens: float32, little endian."""

        async def compute(some: list[list[int]]) -> list[bytes]:
            job = self.engine.submit(Embed(some), terms)
            self.metrics.prompt_tokens.inc(sum(map(len, some)))
            rows: dict[int, bytes] = {}
            async with until_disconnect(request, [job], self.engine):
                async for result in job.results(Vectors):
                    rows.update(result.rows)
            return [rows[index] for index in range(len(some))]

        if self.cache is None:
            return await compute(inputs)
        return await self.cache.results(request, {}, inputs, terms, self.engine.precision, compute)

    async def deltas(self, request: Request, work: list[Generate], terms: Terms) -> list[list[Delta]]:
        """The pieces of each generated text; the texts differ in nothing but the prompt."""

        async def compute(some: list[Generate]) -> list[list[Delta]]:
            jobs = self._submit(some, terms)
            async with until_disconnect(request, jobs, self.engine):
                return [[delta async for delta in job.results(Delta)] for job in jobs]

        async def compute_rows(rows: list[list[int]]) -> list[bytes]:
            return [DELTAS.dump_json(one) for one in await compute([replace(work[0], prompt=row) for row in rows])]

        if self.cache is None:
            return await compute(work)
        if work[0].temperature != 0 or len({one.max_tokens for one in work}) > 1:
            self.cache.bypass(request, len(work))
            return await compute(work)
        parameters = {**asdict(work[0]), **WITHOUT_EFFECT, "prompt": None}
        prompts = [one.prompt for one in work]
        rows = await self.cache.results(request, parameters, prompts, terms, self.engine.precision, compute_rows)
        return [DELTAS.validate_json(row) for row in rows]

    async def streams(self, request: Request, work: list[Generate], terms: Terms) -> list[Job]:
        """Jobs whose results may be read as they come, once the first has begun: until then it may be refused."""
        if self.cache is not None:
            self.cache.bypass(request, len(work))
        jobs = self._submit(work, terms)
        async with until_disconnect(request, jobs, self.engine, only_failed=True):
            await jobs[0].begun_answering()
        return jobs

    def _submit(self, work: list[Generate], terms: Terms) -> list[Job]:
        """All or none."""
        jobs: list[Job] = []
        try:
            for one in work:
                jobs.append(self.engine.submit(one, terms))
        except RequestError:
            for job in jobs:
                self.engine.cancel(job)
            raise
        self.metrics.prompt_tokens.inc(sum(len(one.prompt) for one in work))
        return jobs


@asynccontextmanager
async def until_disconnect(
    request: Request, jobs: Sequence[Job], engine: Engine, only_failed: bool = False
) -> AsyncIterator[None]:
    """Cancel the jobs when the client leaves before the block ends, or when the block ends (or fails) before them."""

    async def watch() -> None:
        try:
            await left(request)
        except ClientDisconnect as error:
            for job in jobs:
                job.fail(error)

    watcher = asyncio.create_task(watch())
    done = False
    try:
        yield
        done = only_failed
    finally:
        watcher.cancel()
        for job in () if done else jobs:
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


def room_after(prompt: Sequence[int], param: str, engine: Engine) -> int:
    """How many tokens may be written after the prompt; RequestError (400) names the parameter if there is no room."""
    room = engine.context_length - len(prompt)
    if room < 1:
        raise too_long(param, len(prompt), engine.context_length)
    return min(room, engine.max_output_tokens or room)


def too_long(param: str, length: int, limit: int) -> RequestError:
    """The refusal of an input of so many tokens."""
    message = f"{param}: has {length} tokens, and the model's context is {limit} tokens; send a shorter text"
    return RequestError(400, message, param=param, code="context_length_exceeded")
