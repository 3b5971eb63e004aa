"""Who may enter: what every API asks of a request before the engine hears of it."""

import time

from starlette.datastructures import Headers
from starlette.requests import Request

from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Terms
from springtide_server.errors import RequestError
from springtide_server.priorities import HEADER, rank_of
from springtide_server.protocol import Task

MAX_BODY_BYTES = 4 * 1024 * 1024
# Read and thrown away before a larger body is refused: a client that is cut off while it sends never sees the answer.
MAX_UNREAD_BYTES = 64 * 1024 * 1024
LOADING_RETRY_SECONDS = 5
TIMEOUT_HEADER = "X-Request-Timeout-Ms"


class Gate:
    """The one model that is served here, and on what terms. All methods raise RequestError."""

    def __init__(self, name: str, task: Task, engine: Engine, timeout: float | None, cached: bool) -> None:
        """`timeout` is that of requests which name none, in seconds; `cached`: some need no place in the queue."""
        self.name, self.task, self._engine, self._timeout, self._cached = name, task, engine, timeout, cached

    def glance(self, headers: Headers) -> None:
        """Refuse what has no chance just now, before it is read."""
        if self._engine.state == "ready" and not self._cached:
            self._engine.admit(self.terms(headers))

    def terms(self, headers: Headers) -> Terms:
        """What the headers say; the deadline counts from here."""
        rank = rank_of(headers.get(HEADER), self._engine.classes)
        name = self._engine.classes[rank].name
        timeout = headers.get(TIMEOUT_HEADER)
        if timeout is None:
            return Terms(rank, self._timeout and time.monotonic() + self._timeout, name)
        if not (timeout.isascii() and timeout.isdecimal() and len(timeout) <= 12 and int(timeout) > 0):
            message = f"{TIMEOUT_HEADER}: should be a whole number of milliseconds, at least 1"
            raise RequestError(400, message, param=TIMEOUT_HEADER)
        return Terms(rank, time.monotonic() + int(timeout) / 1000, name)

    def require(self, task: Task, path: str, other: str) -> None:
        """Refuse what only a model of another task can do."""
        if self.task != task:
            message = f"{self.name} was loaded for the task {self.task}, so {path} is not served; use {other}"
            raise RequestError(400, message, code="wrong_task")

    def know(self, model: str) -> None:
        """Refuse other models than ours."""
        if model != self.name:
            message = f"model: there is no model {model!r} here; use {self.name!r}"
            raise RequestError(404, message, param="model", code="model_not_found")

    def enter(self, model: str, terms: Terms) -> None:
        """Refuse what certainly can't be answered now, before work is put into it."""
        self.know(model)
        if self._engine.state != "ready":
            message = "The model is not loaded yet; send the request again later"
            raise RequestError(
                503, message, type="service_unavailable", code="loading", retry_after_seconds=LOADING_RETRY_SECONDS
            )
        if not self._cached:
            self._engine.admit(terms)


async def body_of(request: Request) -> bytes:
    """The whole body; 413 when it is larger than MAX_BODY_BYTES, 415 when it is compressed."""
    if (encoding := request.headers.get("Content-Encoding", "identity")) != "identity":
        message = f"Content-Encoding: {encoding[:64]!r} is not supported; send the body as it is"
        raise RequestError(415, message, param="Content-Encoding")
    body, size = b"", 0
    async for part in request.stream():
        size += len(part)
        body = body + part if size <= MAX_BODY_BYTES else b""
        if size > MAX_UNREAD_BYTES:
            break
    if size > MAX_BODY_BYTES:
        raise RequestError(413, f"The body is larger than {MAX_BODY_BYTES} bytes; send less", code="body_too_large")
    return body
