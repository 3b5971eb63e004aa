"""Answering the two kinds of request: prompt to tokens, through the engine, into OpenAI's shapes."""

import asyncio
import base64
import json
import struct
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Delta, Generate, Job, Terms
from springtide_server.errors import RequestError
from springtide_server.protocol import ChatRequest, EmbeddingRequest
from springtide_server.results import Results, tokens_of, too_long, until_disconnect


async def chat(request: Request, asked: ChatRequest, terms: Terms, results: Results) -> Response:
    """A whole answer, or a stream of its pieces."""
    engine = results.engine
    # Tokenising takes long for a long text, and gives up the GIL: not on the event loop.
    prompt = await asyncio.to_thread(engine.tokenizer.chat, _messages(asked))
    room = engine.context_length - len(prompt)
    if room < 1:
        raise too_long("messages", len(prompt), engine.context_length)
    generate = Generate(
        prompt=prompt,
        max_tokens=min(room, asked.limit or room),
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        seed=asked.seed,
        stops=asked.stop,
    )
    head = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
    if asked.stream:
        if results.cache is not None:
            results.cache.bypass(request, 1)
        job = engine.submit(generate, terms)
        results.metrics.prompt_tokens.inc(len(prompt))
        # Until the model begins, the request may still be refused or run out of time: then it has that status.
        async with until_disconnect(request, job, engine, only_failed=True):
            await job.begun_answering()
        wants_usage = asked.stream_options is not None and asked.stream_options.include_usage
        events = _chat_events(job, engine, head, len(prompt), wants_usage)
        # Cancelled here too: the stream's own end is not reached when the client leaves before its first event.
        left = BackgroundTask(engine.cancel, job)
        headers = {"Cache-Control": "no-cache"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers, background=left)
    deltas = await results.deltas(request, generate, terms)
    text, last = "".join(delta.text for delta in deltas), deltas[-1]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": last.finish_reason,
    }
    usage = _usage(len(prompt), last.tokens)
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": usage})


async def embeddings(request: Request, asked: EmbeddingRequest, terms: Terms, results: Results) -> Response:
    """A vector for each input."""
    inputs = await asyncio.to_thread(tokens_of, asked.input, "input", results.engine)
    rows = await results.vectors(request, inputs, terms)
    count = sum(map(len, inputs))
    encode = _base64 if asked.encoding_format == "base64" else _floats
    data = [{"object": "embedding", "index": i, "embedding": encode(row)} for i, row in enumerate(rows)]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return JSONResponse({"object": "list", "data": data, "model": asked.model, "usage": usage})


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


def _messages(asked: ChatRequest) -> list[dict[str, str]]:
    """For the template, which knows the older name of the developer role."""
    return [{"role": m.role.replace("developer", "system"), "content": m.content} for m in asked.messages]


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _floats(row: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(row) // 4}f", row))


def _base64(row: bytes) -> str:
    return base64.b64encode(row).decode("ascii")
