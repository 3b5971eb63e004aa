"""The HTTP side: routes, who may enter, and what every answer has in common."""

import logging
import time
from typing import cast

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from springtide_server import answers, generation
from springtide_server.engine.engine import Engine
from springtide_server.engine.work import Terms
from springtide_server.errors import RequestError, internal_error
from springtide_server.metrics import Metrics
from springtide_server.priorities import HEADER, rank_of
from springtide_server.protocol import ChatRequest, CompletionRequest, EmbeddingRequest, Task, parse

MAX_BODY_BYTES = 4 * 1024 * 1024
LOADING_RETRY_SECONDS = 5
TIMEOUT_HEADER = "X-Request-Timeout-Ms"
CLIENT_LEFT = 499  # in logs and metrics only, as nginx has it

log = logging.getLogger(__name__)


class ModelApp:
    """The server's routes over one engine. `draining` turns readiness off while requests are still answered."""

    def __init__(self, name: str, task: Task, engine: Engine, metrics: Metrics, timeout: float | None = None) -> None:
        """`timeout` is that of requests which name none, in seconds."""
        self._timeout = timeout
        self.name, self.task, self.engine, self.metrics = name, task, engine, metrics
        self.draining = False
        self._created = int(time.time())
        metrics.ready.set_function(lambda: self._why_not_ready() is None)
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._show_metrics),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={
                RequestError: _refuse,
                HTTPException: _refuse_http,
                ClientDisconnect: _forget,
                Exception: _fail,
            },
        )
        self.asgi: ASGIApp = _Observer(app, self, {route.path for route in routes})

    async def _healthz(self, request: Request) -> Response:
        if self.engine.state != "failed" and not self.engine.alive:
            return PlainTextResponse("the engine's thread has ended\n", 503)
        return PlainTextResponse("ok\n")

    async def _readyz(self, request: Request) -> Response:
        reason = self._why_not_ready()
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    def _why_not_ready(self) -> str | None:
        if self.draining:
            return "draining"
        if self.engine.state != "ready":
            return self.engine.state
        return None if self.engine.alive else "the engine's thread has ended"

    async def _show_metrics(self, request: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _models(self, request: Request) -> Response:
        model = {"id": self.name, "object": "model", "created": self._created, "owned_by": "springtide"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _chat(self, request: Request) -> Response:
        self._require("Generate", "/v1/chat/completions", "/v1/embeddings")
        terms = self._terms(request)
        asked = parse(ChatRequest, await _body(request))
        self._enter(asked.model, terms)
        return await generation.chat(request, asked, terms, self.engine, self.metrics)

    async def _completions(self, request: Request) -> Response:
        self._require("Generate", "/v1/completions", "/v1/embeddings")
        terms = self._terms(request)
        asked = parse(CompletionRequest, await _body(request))
        self._enter(asked.model, terms)
        return await generation.completions(request, asked, terms, self.engine, self.metrics)

    async def _embeddings(self, request: Request) -> Response:
        self._require("Embed", "/v1/embeddings", "/v1/chat/completions")
        terms = self._terms(request)
        asked = parse(EmbeddingRequest, await _body(request))
        self._enter(asked.model, terms)
        return await answers.embeddings(request, asked, terms, self.engine, self.metrics)

    def _require(self, task: Task, path: str, other: str) -> None:
        if self.task != task:
            message = f"{self.name} was loaded for the task {self.task}, so {path} is not served; use {other}"
            raise RequestError(400, message, code="wrong_task")

    def _terms(self, request: Request) -> Terms:
        """From the headers; the deadline counts from here."""
        rank = rank_of(request.headers.get(HEADER), self.engine.classes)
        name = self.engine.classes[rank].name
        timeout = request.headers.get(TIMEOUT_HEADER)
        if timeout is None:
            return Terms(rank, self._timeout and time.monotonic() + self._timeout, name)
        if not (timeout.isascii() and timeout.isdecimal() and len(timeout) <= 12 and int(timeout) > 0):
            message = f"{TIMEOUT_HEADER}: should be a whole number of milliseconds, at least 1"
            raise RequestError(400, message, param=TIMEOUT_HEADER)
        return Terms(rank, time.monotonic() + int(timeout) / 1000, name)

    def _enter(self, model: str, terms: Terms) -> None:
        if model != self.name:
            message = f"model: there is no model {model!r} here; use {self.name!r}"
            raise RequestError(404, message, param="model", code="model_not_found")
        if self.engine.state != "ready":
            message = "The model is not loaded yet; send the request again later"
            raise RequestError(
                503, message, type="service_unavailable", code="loading", retry_after_seconds=LOADING_RETRY_SECONDS
            )
        self.engine.admit(terms)


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(413, f"The body is larger than {MAX_BODY_BYTES} bytes; send less", code="body_too_large")
    return body


async def _refuse(request: Request, error: Exception) -> Response:
    refusal = cast(RequestError, error)
    return JSONResponse(refusal.body, refusal.status, refusal.headers)


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths and methods."""
    refusal = cast(HTTPException, error)
    body = RequestError(refusal.status_code, f"{request.method} {request.url.path}: {refusal.detail}").body
    return JSONResponse(body, refusal.status_code, refusal.headers)


async def _fail(request: Request, error: Exception) -> Response:
    return JSONResponse(internal_error().body, 500)


async def _forget(request: Request, error: Exception) -> Response:
    """The client has left: nobody reads this."""
    return Response(status_code=CLIENT_LEFT)


class _Observer:
    """Around the routes: metrics, one log line for each API request, and the farewell while draining."""

    def __init__(self, app: ASGIApp, server: ModelApp, paths: set[str]) -> None:
        self._app, self._server, self._paths = app, server, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Unknown paths share one label: the number of series must not be in the hands of clients.
        route = scope["path"] if scope["path"] in self._paths else "other"
        metrics, start = self._server.metrics, time.monotonic()
        code = CLIENT_LEFT

        async def send_and_note(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if self._server.draining or code == 413:
                    # Lets clients that keep connections open find another replica. After 413 the body is unread.
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        api = route.startswith("/v1/")
        if api:
            metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_and_note)
        finally:
            seconds = time.monotonic() - start
            metrics.requests.labels(route, str(code)).inc()
            metrics.request_seconds.labels(route).observe(seconds)
            if api:
                metrics.in_flight.dec()
                fields = {"route": route, "code": code, "seconds": round(seconds, 4)}
                log.info("request", extra={"fields": fields})
