"""The routes of the Open Inference Protocol, version 2."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from springtide_server import __version__, oip
from springtide_server.engine.work import Generate, Terms
from springtide_server.errors import RequestError
from springtide_server.gate import Gate, body_of
from springtide_server.results import Results, room_after, tokens_of

PREFIX = "/v2"
MODEL = "/v2/models/{model:path}"  # a name may have slashes


class OpenInference:
    """Answers for one model. What is wrong is told by `why_not_alive` and `why_not_ready`, None when nothing is."""

    def __init__(
        self,
        gate: Gate,
        results: Results,
        why_not_alive: Callable[[], str | None],
        why_not_ready: Callable[[], str | None],
    ) -> None:
        self._gate, self._results = gate, results
        self._why_not_alive, self._why_not_ready = why_not_alive, why_not_ready
        self.routes = [
            Route(PREFIX, self._server),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
        ]
        for model in (f"{MODEL}/versions/{{version}}", MODEL):
            self.routes += [
                Route(f"{model}/infer", self._infer, methods=["POST"]),
                Route(f"{model}/ready", self._model_ready),
                Route(model, self._model),
            ]

    async def _server(self, request: Request) -> Response:
        return JSONResponse({"name": "springtide", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def _live(self, request: Request) -> Response:
        live = self._why_not_alive() is None
        return JSONResponse({"live": live}, 200 if live else 503)

    async def _ready(self, request: Request) -> Response:
        ready = self._why_not_ready() is None
        return JSONResponse({"ready": ready}, 200 if ready else 503)

    async def _model_ready(self, request: Request) -> Response:
        ready = self._why_not_ready() is None
        return JSONResponse({"name": self._name(request), "ready": ready}, 200 if ready else 503)

    async def _model(self, request: Request) -> Response:
        return JSONResponse(oip.metadata(self._gate.task, self._name(request)))

    async def _infer(self, request: Request) -> Response:
        name, terms = self._name(request), self._gate.terms(request.headers)
        body, json_length = await body_of(request), request.headers.get(oip.LENGTH_HEADER)
        asked = await asyncio.to_thread(oip.read, self._gate.task, body, json_length)  # a large one takes long
        self._gate.enter(name, terms)
        answer = self._embed if self._gate.task == "Embed" else self._generate
        shape, rows = await answer(request, asked, terms)
        content, headers = await asyncio.to_thread(oip.answer, self._gate.task, name, asked, shape, rows)
        return Response(content, headers=headers)

    def _name(self, request: Request) -> str:
        """The model that the path names; 404 for others."""
        name: str = request.path_params["model"]
        self._gate.know(name)
        if (wanted := request.path_params.get("version", oip.VERSION)) != oip.VERSION:
            raise RequestError(404, f"version: {name} has no version {wanted!r}; use {oip.VERSION!r}", param="version")
        return name

    async def _embed(
        self, request: Request, asked: oip.Asked[oip.Parameters], terms: Terms
    ) -> tuple[tuple[int, ...], list[bytes]]:
        field, inputs = oip.embed_inputs(asked)
        tokens = await asyncio.to_thread(tokens_of, inputs, field, self._results.engine)
        rows = await self._results.vectors(request, tokens, terms)
        return (len(rows), len(rows[0]) // 4), rows

    async def _generate(
        self, request: Request, asked: oip.Asked[oip.GenerateParameters], terms: Terms
    ) -> tuple[tuple[int, ...], list[bytes]]:
        field = "text_input"
        texts, shape = oip.texts(asked, field), asked.tensors[field].shape
        prompts = await asyncio.to_thread(tokens_of, texts, field, self._results.engine)
        engine, wanted = self._results.engine, asked.parameters
        requests = [
            Generate(
                prompt=prompt,
                max_tokens=min(wanted.max_tokens, room_after(prompt, f"{field}[{index}]", engine)),
                temperature=wanted.temperature,
                top_p=wanted.top_p,
                seed=wanted.seed,
                stops=wanted.stop,
            )
            for index, prompt in enumerate(prompts)
        ]
        answers = await self._results.deltas(request, requests, terms)
        return shape, ["".join(delta.text for delta in deltas).encode() for deltas in answers]


def error_body(error: RequestError) -> dict[str, str]:
    """A refusal in the protocol's shape."""
    return {"error": error.message}
