"""Answering the two kinds of request: prompt to tokens, through the engine, into OpenAI's shapes."""

import asyncio
import base64
import json
import math
import struct
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic_core import to_json
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Delta, Embed, Generate, Job, Terms, Vectors
from springtide_server.errors import RequestError
from springtide_server.metrics import Metrics
from springtide_server.protocol import ChatRequest, EmbeddingRequest


async def chat(request: Request, asked: ChatRequest, terms: Terms, engine: Engine, metrics: Metrics) -> Response:
    """A whole answer, or a stream of its pieces."""
    # Tokenising takes long for a long text, and gives up the GIL: not on the event loop.
    prompt = await asyncio.to_thread(engine.tokenizer.chat, _messages(asked))
    room = engine.context_length - len(prompt)
    if room < 1:
        raise _too_long("messages", len(prompt), engine.context_length)
    generate = Generate(
        prompt=prompt,
        max_tokens=min(room, asked.limit or room),
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=asked.seed,
        stops=asked.stop,
    )
    job = engine.submit(generate, terms)
    metrics.prompt_tokens.inc(len(prompt))
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
    if asked.stream:
        # Until the model begins, the request may still be refused or run out of time: then it has that status.
        async with _until_disconnect(request, job, engine, only_failed=True):
            await job.begun_answering()
        wants_usage = asked.stream_options is not None and asked.stream_options.include_usage
        events = _chat_events(job, engine, head, len(prompt), wants_usage)
        # Cancelled here too: the stream's own end is not reached when the client leaves before its first event.
        left = BackgroundTask(engine.cancel, job)
        headers = {"Cache-Control": "no-cache"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers, background=left)
    text, last = "", Delta("", 0)
    async with _until_disconnect(request, job, engine):
        async for last in job.results(Delta):
            text += last.text
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": last.finish_reason,
    }
    usage = _usage(len(prompt), last.tokens)
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


async def embeddings(
    request: Request, asked: EmbeddingRequest, terms: Terms, engine: Engine, metrics: Metrics
) -> Response:
    """A vector for each input."""
    inputs = await asyncio.to_thread(lambda: list(_tokens(asked, engine)))
    job = engine.submit(Embed(inputs), terms)
    count = sum(map(len, inputs))
    metrics.prompt_tokens.inc(count)
    rows: dict[int, bytes] = {}
    async with _until_disconnect(request, job, engine):
        async for result in job.results(Vectors):
            rows.update(result.rows)
    encode = _base64 if asked.encoding_format == "base64" else _floats
    data = [{"object": "embedding", "index": i, "embedding": encode(rows[i])} for i in range(len(inputs))]
    usage = {"prompt_tokens": count, "total_tokens": count}
    # Hundreds of numbers a row: the standard library's encoder takes eight times as long, on the event loop.
    body = to_json({"object": "list", "data": data, "model": asked.model, "usage": usage})
    return Response(body, media_type="application/json")


async def _chat_events(
    job: Job, engine: Engine, head: dict[str, Any], prompt_tokens: int, wants_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events: the role, the pieces, the reason, the usage if asked for, and [DONE]."""
    head = {**head, "object": "chat.completion.chunk"}
    usage = {"usage": None} if wants_usage else {}

    def event(delta: dict[str, str], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event({**head, "choices": [choice], **usage})

    last = Delta("", 0)
    try:
        yield event({"role": "assistant", "content": ""})
        async for last in job.results(Delta):
            if last.text:
                yield event({"content": last.text})
        yield event({}, last.finish_reason)
        if wants_usage:
            yield _event({**head, "choices": [], "usage": _usage(prompt_tokens, last.tokens)})
        yield "data: [DONE]\n\n"
    except RequestError as error:  # the engine has logged it; the status line is sent long ago
        yield _event(error.body)
    finally:  # at the end, and also where Starlette stops us because the client has left
        engine.cancel(job)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


@asynccontextmanager
async def _until_disconnect(
    request: Request, job: Job, engine: Engine, only_failed: bool = False
) -> AsyncIterator[None]:
    """Cancel the job when the client leaves before the block ends, or when the block ends (or fails) before the job."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        job.fail(ClientDisconnect())

    watcher = asyncio.create_task(watch())
    done = False
    try:
        yield
        done = only_failed
    finally:
        watcher.cancel()
        if not done:
            engine.cancel(job)


def _messages(asked: ChatRequest) -> list[dict[str, str]]:
    """For the template, which knows the older name of the developer role."""
    return [{"role": m.role.replace("developer", "system"), "content": m.content} for m in asked.messages]


def _tokens(asked: EmbeddingRequest, engine: Engine) -> Iterator[list[int]]:
    encoded = iter(engine.tokenizer.encode([item for item in asked.input if isinstance(item, str)]))
    for index, item in enumerate(asked.input):
        name = f"input[{index}]"
        tokens = next(encoded) if isinstance(item, str) else item
        if not tokens:
            raise RequestError(400, f"{name}: has no token that the model knows; leave it out", param=name)
        if len(tokens) > engine.context_length:
            raise _too_long(name, len(tokens), engine.context_length)
        if max(tokens) >= engine.tokenizer.vocabulary:
            last = engine.tokenizer.vocabulary - 1
            raise RequestError(400, f"{name}: has the token {max(tokens)}; the model's last is {last}", param=name)
        yield tokens


def _too_long(param: str, length: int, limit: int) -> RequestError:
    message = f"{param}: has {length} tokens, and the model's context is {limit} tokens; send a shorter text"
    return RequestError(400, message, param=param, code="context_length_exceeded")


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _floats(row: bytes) -> tuple[float, ...]:
    """The numbers of a vector; raises ValueError where one is none, which JSON can't say."""
    numbers = struct.unpack(f"<{len(row) // 4}f", row)
    if not math.isfinite(sum(numbers)):
        raise ValueError("the model gave a vector with numbers that are not finite")
    return numbers


def _base64(row: bytes) -> str:
    return base64.b64encode(row).decode("ascii")
