"""Answering requests for text: prompts to tokens, through the engine, into OpenAI's shapes, whole or as a stream."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Delta, Generate, Job, Terms, TokenLogprob
from springtide_server.errors import RequestError
from springtide_server.protocol import ChatRequest, CompletionRequest, GenerateRequest
from springtide_server.results import Results, room_after, tokens_of


class _Form(Protocol):
    """How one of the two APIs writes its answers."""

    prefix: str
    whole: str
    part: str

    def choice(self, text: str, told: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """Of a whole answer; `told` is None when log-probabilities weren't asked for."""
        ...

    def opening(self) -> dict[str, Any] | None:
        """What a stream begins with."""
        ...

    def piece(self, text: str, told: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        """Of a stream."""
        ...


async def chat(request: Request, asked: ChatRequest, terms: Terms, results: Results) -> Response:
    """Continue a conversation."""
    # Tokenising takes long for a long text, and gives up the GIL: not on the event loop.
    prompt = await asyncio.to_thread(results.engine.tokenizer.chat, _messages(asked))
    work = [_generate("messages", prompt, asked, results.engine)]
    return await _answer(request, asked, work, terms, results, _Chat(results.engine))


async def completions(request: Request, asked: CompletionRequest, terms: Terms, results: Results) -> Response:
    """Continue one or several prompts."""
    engine = results.engine
    prompts = await asyncio.to_thread(tokens_of, asked.prompt, "prompt", engine)
    work = [_generate(f"prompt[{index}]", prompt, asked, engine) for index, prompt in enumerate(prompts)]
    return await _answer(request, asked, work, terms, results, _Completion(engine))


async def _answer(
    request: Request, asked: GenerateRequest, work: list[Generate], terms: Terms, results: Results, form: _Form
) -> Response:
    read = sum(len(one.prompt) for one in work)
    head = {"id": f"{form.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": asked.model}
    if asked.stream:
        jobs = await results.streams(request, work, terms)
        # Cancelled here too: the stream's own end is not reached when the client leaves before its first event.
        left = BackgroundTask(_cancel, results.engine, jobs)
        tells = work[0].logprobs is not None
        events = _events(jobs, results.engine, {**head, "object": form.part}, read, asked, form, tells)
        headers = {"Cache-Control": "no-cache"}
        return StreamingResponse(events, media_type="text/event-stream", headers=headers, background=left)
    choices, written = [], 0
    for index, deltas in enumerate(await results.deltas(request, work, terms)):
        told = [one for delta in deltas for one in delta.logprobs]
        choice = form.choice("".join(delta.text for delta in deltas), None if work[0].logprobs is None else told)
        choices.append({"index": index, **choice, "finish_reason": deltas[-1].finish_reason})
        written += deltas[-1].tokens
    return JSONResponse({**head, "object": form.whole, "choices": choices, "usage": _usage(read, written)})


async def _events(
    jobs: list[Job], engine: Engine, head: dict[str, Any], read: int, asked: GenerateRequest, form: _Form, tells: bool
) -> AsyncIterator[str]:
    """Server-sent events: the opening, the pieces, the reasons, the usage if asked for, and [DONE].

    `tells` says whether there are log-probabilities.
    """
    wants_usage = asked.stream_options is not None and asked.stream_options.include_usage
    usage = {"usage": None} if wants_usage else {}

    def event(index: int, piece: dict[str, Any], reason: str | None = None) -> str:
        return _event({**head, "choices": [{"index": index, **piece, "finish_reason": reason}], **usage})

    written = 0
    try:
        if (opening := form.opening()) is not None:
            yield event(0, opening)
        async for index, delta in _merged(jobs):
            if delta.text or delta.logprobs or delta.finish_reason:
                told = delta.logprobs if tells else None
                yield event(index, form.piece(delta.text, told), delta.finish_reason)
            written += delta.tokens if delta.finish_reason else 0
        if wants_usage:
            yield _event({**head, "choices": [], "usage": _usage(read, written)})
        yield "data: [DONE]\n\n"
    except RequestError as error:  # the engine has logged it; the status line is sent long ago
        yield _event(error.body)
    finally:  # at the end, and also where Starlette stops us because the client has left
        _cancel(engine, jobs)


async def _merged(jobs: list[Job]) -> AsyncIterator[tuple[int, Delta]]:
    """The pieces of all jobs as they come, with the job's index."""
    if len(jobs) == 1:
        async for delta in jobs[0].results(Delta):
            yield 0, delta
        return
    pieces: asyncio.Queue[tuple[int, Delta | Exception | None]] = asyncio.Queue()

    async def read(index: int, job: Job) -> None:
        try:
            async for delta in job.results(Delta):
                pieces.put_nowait((index, delta))
            pieces.put_nowait((index, None))
        except Exception as error:
            pieces.put_nowait((index, error))

    readers = [asyncio.create_task(read(index, job)) for index, job in enumerate(jobs)]
    try:
        left = len(readers)
        while left:
            index, piece = await pieces.get()
            if isinstance(piece, Exception):
                raise piece
            if piece is None:
                left -= 1
            else:
                yield index, piece
    finally:
        for reader in readers:
            reader.cancel()


def _generate(name: str, prompt: list[int], asked: GenerateRequest, engine: Engine) -> Generate:
    room = room_after(prompt, name, engine)
    return Generate(
        prompt=prompt,
        max_tokens=min(room, asked.limit or room),
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=1.0 if asked.top_p is None else asked.top_p,
        top_k=max(0, asked.top_k or 0),
        seed=asked.seed,
        stops=asked.stop,
        logprobs=None if "Logprobs" in engine.features_off else asked.told,
        ignore_end=bool(asked.ignore_eos),
    )


def _messages(asked: ChatRequest) -> list[dict[str, str]]:
    """For the template, which knows the older name of the developer role."""
    return [{"role": m.role.replace("developer", "system"), "content": m.content} for m in asked.messages]


class _Chat:
    """Chat completions."""

    prefix, whole, part = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(self, engine: Engine) -> None:
        self._piece = engine.tokenizer.piece

    def choice(self, text: str, told: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"message": message, "logprobs": self._told(told)}

    def opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}, "logprobs": None}

    def piece(self, text: str, told: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}, "logprobs": self._told(told)}

    def _told(self, told: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        if told is None:
            return None
        content = [
            {**self._one(one.token, one.logprob), "top_logprobs": [self._one(*likely) for likely in one.top]}
            for one in told
        ]
        return {"content": content, "refusal": None}

    def _one(self, token: int, logprob: float) -> dict[str, Any]:
        text = self._piece(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


class _Completion:
    """Completions."""

    prefix, whole, part = "cmpl", "text_completion", "text_completion"

    def __init__(self, engine: Engine) -> None:
        self._piece = engine.tokenizer.piece

    def choice(self, text: str, told: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        return {"text": text, "logprobs": self._told(told)}

    def opening(self) -> None:
        return None

    def piece(self, text: str, told: Sequence[TokenLogprob] | None) -> dict[str, Any]:
        return self.choice(text, told)

    def _told(self, told: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
        if told is None:
            return None
        return {
            "tokens": [self._piece(one.token) for one in told],
            "token_logprobs": [one.logprob for one in told],
            "top_logprobs": [{self._piece(token): logprob for token, logprob in one.top} for one in told],
            "text_offset": [],
        }


def _cancel(engine: Engine, jobs: list[Job]) -> None:
    for job in jobs:
        engine.cancel(job)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"


def _usage(prompt: int, completion: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
