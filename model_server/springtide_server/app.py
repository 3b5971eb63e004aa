"""The HTTP side: routes, who may enter, and what every answer has in common."""

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from springtide_server import answers, generation, load, oip_routes, profiling
from springtide_server.engine.engine import Engine
from springtide_server.errors import RequestError, internal_error
from springtide_server.gate import Gate, body_of
from springtide_server.load import LoadReport
from springtide_server.metrics import Metrics
from springtide_server.oip_routes import OpenInference
from springtide_server.profiling import Profiler
from springtide_server.protocol import ChatRequest, CompletionRequest, EmbeddingRequest, Task, parse
from springtide_server.results import Results

if TYPE_CHECKING:
    from springtide_server.cache.cache import ResultCache

CLIENT_LEFT = 499  # in logs and metrics only, as nginx has it

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AppOptions:
    """What the command line says of answers. Times in seconds, None for no bound."""

    timeout: float | None = None
    """Of requests that name none."""
    hang_seconds: float | None = None
    """Of one step of the model, before the engine counts as hung."""
    load_report: bool = False
    profiling: bool = False


class ModelApp:
    """The server's routes over one engine. `draining` turns readiness off while requests are still answered."""

    def __init__(
        self,
        name: str,
        task: Task,
        engine: Engine,
        metrics: Metrics,
        options: AppOptions = AppOptions(),
        cache: "ResultCache | None" = None,
    ) -> None:
        self.name, self.engine, self.metrics = name, engine, metrics
        self.draining = False
        self._options = options
        self._gate = Gate(name, task, engine, options.timeout, cached=cache is not None)
        self._results = Results(engine, metrics, cache)
        self.load = LoadReport(engine)
        self._created = int(time.time())
        metrics.ready.set_function(lambda: self._why_not_ready() is None)
        open_inference = OpenInference(self._gate, self._results, self._why_not_alive, self._why_not_ready)
        routes = [
            Route("/healthz", self._healthz),
            Route("/readyz", self._readyz),
            Route("/metrics", self._show_metrics),
            Route("/v1/models", self._models),
            Route("/v1/chat/completions", self._chat, methods=["POST"]),
            Route("/v1/completions", self._completions, methods=["POST"]),
            Route("/v1/embeddings", self._embeddings, methods=["POST"]),
            *open_inference.routes,
            Route(profiling.PATH, Profiler(options.profiling).route),
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
        paths = {"Generate": ("/v1/chat/completions", "/v1/completions"), "Embed": ("/v1/embeddings",)}[task]
        self._asking = {route.path: route for route in routes if route.path in paths}
        self.asgi: ASGIApp = _Observer(app, self)

    def refusal(self, scope: Scope) -> Response | None:
        """Of a request that has no chance just now, from its headers alone.

        Under overload most are refused, and what that takes is missing to the others. `enter` asks again, since a body
        may take long to arrive.
        """
        route = self._asking.get(scope["path"]) if scope["method"] == "POST" else None
        if route is None:
            return None
        try:
            self._gate.glance(Headers(scope=scope))
        except RequestError as error:
            scope["route"] = route
            return JSONResponse(error.body, error.status, error.headers)
        return None

    async def _healthz(self, request: Request) -> Response:
        reason = self._why_not_alive()
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    async def _readyz(self, request: Request) -> Response:
        reason = self._why_not_ready()
        return PlainTextResponse(f"{reason or 'ok'}\n", 503 if reason else 200)

    def _why_not_alive(self) -> str | None:
        if self.engine.state == "failed" or self.engine.alive:
            return self._why_hung()
        return "the engine's thread has ended"

    def _why_hung(self) -> str | None:
        seconds, allowed = self.engine.pulse.step_seconds, self._options.hang_seconds
        if self.engine.state != "ready" or allowed is None or seconds <= allowed:
            return None
        return f"the engine has been in one step of the model for {seconds:.0f} s"

    def load_header(self, scope: Scope) -> str | None:
        """The load report, where the request or the command line asks for it."""
        asked = Headers(scope=scope).get(load.FORMAT_HEADER, "text" if self._options.load_report else "").lower()
        return load.encode(self.load.report(), asked) if asked in load.FORMATS else None

    def _why_not_ready(self) -> str | None:
        if self.draining:
            return "draining"
        return self.engine.state if self.engine.state != "ready" else self._why_not_alive()

    async def _show_metrics(self, request: Request) -> Response:
        return Response(generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _models(self, request: Request) -> Response:
        model = {"id": self.name, "object": "model", "created": self._created, "owned_by": "springtide"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _chat(self, request: Request) -> Response:
        self._gate.require("Generate", "/v1/chat/completions", "/v1/embeddings")
        terms = self._gate.terms(request.headers)
        asked = parse(ChatRequest, await body_of(request))
        self._gate.enter(asked.model, terms)
        return await generation.chat(request, asked, terms, self._results)

    async def _completions(self, request: Request) -> Response:
        self._gate.require("Generate", "/v1/completions", "/v1/embeddings")
        terms = self._gate.terms(request.headers)
        asked = parse(CompletionRequest, await body_of(request))
        self._gate.enter(asked.model, terms)
        return await generation.completions(request, asked, terms, self._results)

    async def _embeddings(self, request: Request) -> Response:
        self._gate.require("Embed", "/v1/embeddings", "/v1/chat/completions")
        terms = self._gate.terms(request.headers)
        asked = parse(EmbeddingRequest, await body_of(request))
        self._gate.enter(asked.model, terms)
        return await answers.embeddings(request, asked, terms, self._results)


async def _refuse(request: Request, error: Exception) -> Response:
    return _in_the_shape_of_its_api(request, cast(RequestError, error))


async def _refuse_http(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: unknown paths and methods."""
    refusal = cast(HTTPException, error)
    error = RequestError(refusal.status_code, f"{request.method} {request.url.path}: {refusal.detail}")
    response = _in_the_shape_of_its_api(request, error)
    response.headers.update(refusal.headers or {})
    return response


async def _fail(request: Request, error: Exception) -> Response:
    return _in_the_shape_of_its_api(request, internal_error())


def _in_the_shape_of_its_api(request: Request, error: RequestError) -> Response:
    is_oip = request.scope["path"].startswith(oip_routes.PREFIX)
    body = oip_routes.error_body(error) if is_oip else error.body
    return JSONResponse(body, error.status, error.headers)


async def _forget(request: Request, error: Exception) -> Response:
    """The client has left: nobody reads this."""
    return Response(status_code=CLIENT_LEFT)


class _Observer:
    """Around the routes: metrics, one log line for each API request, and the farewell while draining."""

    def __init__(self, app: ASGIApp, server: ModelApp) -> None:
        self._app, self._server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics, start = self._server.metrics, time.monotonic()
        api = _is_api(scope["path"])
        code = CLIENT_LEFT

        async def send_and_note(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
                if self._server.draining or code == 413:
                    # Lets clients that keep connections open find another replica. After 413 the body is unread.
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
                if api and (report := self._server.load_header(scope)):
                    message["headers"] = [*message["headers"], (load.HEADER.encode(), report.encode())]
                if status := scope.get("state", {}).get("cache_status"):
                    message["headers"] = [*message["headers"], (b"cache-status", status.encode())]
            await send(message)

        if api:
            metrics.in_flight.inc()
        try:
            await (self._server.refusal(scope) or self._app)(scope, receive, send_and_note)
        finally:
            seconds = time.monotonic() - start
            # The router has noted its route by now. Unknown paths share one label, and names of models are no part of
            # it: the number of series must not be in the hands of clients.
            found: Route | None = scope.get("route")
            route = found.path.replace(":path", "") if found else "other"
            metrics.requests.labels(route, str(code)).inc()
            metrics.request_seconds.labels(route).observe(seconds)
            if api:
                metrics.in_flight.dec()
                self._server.load.answered(code)
                if code != 429:  # of which there are too many when there are any; a metric counts them
                    fields = {"route": route, "code": code, "seconds": round(seconds, 4)}
                    log.info("request", extra={"fields": fields})


def _is_api(path: str) -> bool:
    """Whether requests of the path ask the model something, or are about to."""
    return path.startswith("/v1/") or (path.startswith(oip_routes.PREFIX) and path.endswith("/infer"))
