"""A server on loopback that answers, sheds, stalls and breaks off, for the tests of the load generator."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections import Counter
from typing import Any

from aiohttp import web

from hack.load import Options, run


class Server:
    """Runs in a thread of its own; `seen` counts requests by path, `classes` by X-Priority."""

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self._trust = trust
        self.seen: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.bodies: list[Any] = []
        self.peers: set[Any] = set()
        self.headers: list[dict[str, str]] = []
        self.stall_from = 0
        self._free: asyncio.Event | None = None
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http{'s' if trust else ''}://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        self._ready.wait(30)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)

    def clear(self) -> None:
        for counted in (self.seen, self.classes, self.bodies, self.peers, self.headers):
            counted.clear()
        self.stall_from, self._free = 0, None

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.SockSite(runner, self._socket, ssl_context=self._trust).start())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/v1")
        self.seen[path] += 1
        self.classes[request.headers.get("X-Priority", "")] += 1
        self.headers.append(dict(request.headers))
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        body = await request.read()
        asked = json.loads(body) if body.startswith(b"{") else {}
        self.bodies.append(asked or body)
        if path == "/stall":
            await self._stall()
        answer = getattr(self, path.strip("/").replace("/", "_").replace("-", "_"), None)
        if answer is not None and path != "/start":
            found: web.StreamResponse = await answer(request, asked)
            return found
        return web.json_response({"ok": True})

    async def _stall(self) -> None:
        """From the 20th request on, answer nothing for a second."""
        if self.seen["/stall"] == 20:
            self._free = asyncio.Event()
            self._loop.call_later(1, self._free.set)
        if self._free is not None:
            await self._free.wait()

    async def embeddings(self, request: web.Request, asked: Any) -> web.Response:
        inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        usage = {"prompt_tokens": sum(len(text.split()) for text in inputs)}
        return web.json_response({"data": [{"embedding": [0.5]} for _ in inputs], "usage": usage})

    async def completions(self, request: web.Request, asked: Any) -> web.Response:
        usage = {"prompt_tokens": len(asked["prompt"].split()), "completion_tokens": asked["max_tokens"]}
        return web.json_response({"choices": [{"text": "a"}], "usage": usage})

    async def chat_completions(self, request: web.Request, asked: Any) -> web.StreamResponse:
        length = asked["max_tokens"]
        usage = {"prompt_tokens": len(asked["messages"][0]["content"].split()), "completion_tokens": length}
        if not asked.get("stream"):
            return web.json_response({"choices": [{"message": {"content": "a"}}], "usage": usage})
        return await self._stream(request, length, [{"choices": [], "usage": usage}], "[DONE]")

    async def no_usage(self, request: web.Request, asked: Any) -> web.StreamResponse:
        return await self._stream(request, 3, [], "[DONE]")

    async def no_done(self, request: web.Request, asked: Any) -> web.StreamResponse:
        return await self._stream(request, 3, [], None)

    async def error_in_stream(self, request: web.Request, asked: Any) -> web.StreamResponse:
        return await self._stream(request, 3, [{"error": {"message": "out of memory"}}], None)

    async def cut_stream(self, request: web.Request, asked: Any) -> web.StreamResponse:
        response = await self._stream(request, 3, [], None, end=False)
        assert request.transport is not None
        request.transport.close()
        return response

    async def cut(self, request: web.Request, asked: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: half")
        assert request.transport is not None
        request.transport.close()
        return response

    async def leave(self, request: web.Request, asked: Any) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def not_json(self, request: web.Request, asked: Any) -> web.Response:
        return web.Response(text="<html>")

    async def shed(self, request: web.Request, asked: Any) -> web.Response:
        return web.json_response({"error": {}}, status=429, headers={"Retry-After": "3"})

    async def some_shed(self, request: web.Request, asked: Any) -> web.Response:
        return web.json_response({}, status=429 if self.seen["/some-shed"] % 4 == 0 else 200)

    async def redirect(self, request: web.Request, asked: Any) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://192.0.2.1/"})

    async def slow(self, request: web.Request, asked: Any) -> web.Response:
        await asyncio.sleep(float(request.query["seconds"]))
        return web.json_response({})

    async def _stream(
        self, request: web.Request, length: int, events: list[Any], last: str | None, end: bool = True
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        pieces = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
        pieces += [{"choices": [{"delta": {"content": "a"}}]} for _ in range(length)]
        for event in [*pieces, *events]:
            await response.write(f"data: {json.dumps(event)}\n\n".encode())
            await asyncio.sleep(0.002)
        if last:
            await response.write(f"data: {last}\n\n".encode())
        if end:
            await response.write_eof()
        return response


def load(server: Server, path: str = "/", **options: Any) -> dict[str, Any]:
    loops = {"rate", "concurrency", "trace"} & options.keys()
    rate = {} if loops else {"rate": 50}
    return run(Options((server.url + path,), **{"seconds": 0.5, **rate, **options}))


def adds_up(told: dict[str, Any]) -> None:
    requests = told["requests"]
    assert requests["ok"] + requests["failed"] + requests["abandoned"] == requests["scheduled"]
    assert sum(told["outcomes"].values()) == requests["scheduled"]
    assert requests["scheduled"] + requests["not_scheduled"] == requests["planned"]
