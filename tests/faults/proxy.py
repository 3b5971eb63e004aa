"""A proxy that breaks: it stands between one operator and the API server, and does to the operator what networks do.

It runs in a thread with an event loop of its own. The controls may be called from any thread.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import ssl
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.faults.calls import WRITES, Call, Kill, Rule, Stream, call_of, lines_of, refusal, until_closed

_DROPPED_HEADERS = {"host", "connection", "transfer-encoding", "content-length", "accept-encoding", "keep-alive"}


@dataclass
class Proxy:
    """The controls are the fields and the methods without underscore."""

    server: str
    upstream: ssl.SSLContext
    certificate: ssl.SSLContext
    delay: float = 0.0
    drop: float = 0.0
    rules: list[Rule] = field(default_factory=list)
    frozen: set[str] = field(default_factory=set)
    calls: list[Call] = field(default_factory=list)
    kill: Kill | None = None
    writes: int = 0
    dropped: int = 0

    def __post_init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._random = random.Random(7)  # noqa: S311
        self._streams: set[Stream] = set()
        self._dead: set[Any] = set()
        self._hole: asyncio.Server | None = None
        self._port = 0
        self._thread.start()
        self._do(self._start())

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def close(self) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def heal(self) -> None:
        """End all faults. What hung in a black hole hangs for ever."""
        self.delay, self.drop, self.kill = 0.0, 0.0, None
        self.rules.clear()
        self.thaw()
        self.accept()

    def accept(self) -> None:
        """Take connections again."""
        self._do(self._listen())

    def answer(self, status: int, **which: Any) -> None:
        """Answer in the server's place; see Rule."""
        self.rules.append(Rule(status, **which))

    def freeze(self, *kinds: str, later: bool = True) -> None:
        """Hold the lines of the open watches, and with `later` also of those that are still to come."""
        if later:
            self.frozen.update(kinds)
        for stream in [one for one in self._streams if one.kind in kinds]:
            stream.held = True

    def thaw(self) -> None:
        """Let the held lines go."""
        self.frozen.clear()
        for stream in list(self._streams):
            stream.held = False

    def cut(self) -> None:
        """Cut all connections; new ones are welcome."""
        self._do(self._cut())

    def refuse(self) -> None:
        """Cut all connections and refuse new ones."""
        self._do(self._refuse())

    def swallow(self) -> None:
        """Become a black hole: connections stay or are accepted, and no byte ever comes back."""
        self._do(self._swallow())

    def say(self, kind: str, event: dict[str, Any]) -> None:
        """Put an event of our own into the open watches of a kind."""
        line = json.dumps(event).encode() + b"\n"
        for stream in [one for one in self._streams if one.kind == kind]:
            self._do(stream.response.write(line))

    def since(self, time: float) -> list[Call]:
        """Return the requests that came since a time."""
        return [call for call in self.calls[:] if call.time >= time]

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _start(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self.upstream, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        application = web.Application(client_max_size=64 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site: web.TCPSite | None = None
        await self._listen()

    async def _close(self) -> None:
        await self._refuse()
        await self._runner.cleanup()
        await self._session.close()
        hanging = asyncio.all_tasks() - {asyncio.current_task()}
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)

    async def _listen(self) -> None:
        if self._hole is not None:
            self._hole.close()
            self._hole = None
        if self._site is None:
            site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self.certificate, reuse_address=True)
            await site.start()
            self._site = site
            self._port = self._runner.addresses[0][1]

    async def _deafen(self) -> None:
        if self._site is not None:
            await self._site.stop()
            self._site = None

    async def _refuse(self) -> None:
        await self._deafen()
        await self._cut()

    async def _cut(self) -> None:
        for transport in self._transports():
            transport.abort()

    async def _swallow(self) -> None:
        await self._deafen()
        self._dead.update(self._transports())

        async def drink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while await reader.read(1 << 16):
                    pass
                writer.close()

        self._hole = await asyncio.start_server(drink, "127.0.0.1", self._port, reuse_address=True)

    def _transports(self) -> list[Any]:
        server = self._runner.server
        return [one.transport for one in (server.connections if server else ()) if one.transport is not None]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = call_of(request)
        self.calls.append(call)
        await self._hang_if_dead(request)
        if self.delay:
            await asyncio.sleep(self.delay)
        for rule in list(self.rules):
            if rule.applies(call):
                call.status = rule.status
                return refusal(rule)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED_HEADERS}
        body = await request.read()
        url = f"{self.server}{request.raw_path}"
        deadline = aiohttp.ClientTimeout(total=None, sock_connect=10)
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body or None, timeout=deadline
            ) as answer:
                call.status = answer.status
                passed = {name: value for name, value in answer.headers.items() if name.lower() not in _DROPPED_HEADERS}
                if call.verb == "watch" and answer.status == 200:
                    return await self._stream(request, call.kind, answer, passed)
                data = await answer.read()
        except aiohttp.ClientError as error:
            raise web.HTTPBadGateway(text=str(error)) from error
        response = web.Response(status=answer.status, body=data, headers=passed)
        await self._hang_if_dead(request)
        if call.verb in WRITES:
            await self._written(request, response)
        return response

    async def _written(self, request: web.Request, response: web.Response) -> None:
        self.writes += 1
        kill = self.kill
        if kill is None or self.writes < kill.write:
            return
        if kill.answered and self.writes == kill.write:
            await response.prepare(request)
            await response.write_eof()
            await asyncio.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.kill(kill.pid(), signal.SIGKILL)
        await until_closed(request)
        self.kill = None

    async def _stream(
        self, request: web.Request, kind: str, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        stream = Stream(kind, response)
        self._streams.add(stream)
        try:
            async for line in lines_of(answer.content):
                if self.drop and b'"type":"BOOKMARK"' not in line[:40] and self._random.random() < self.drop:
                    self.dropped += 1
                    continue
                while stream.held or kind in self.frozen or request.transport in self._dead:
                    await asyncio.sleep(0.05)
                    if request.transport is None or request.transport.is_closing():
                        return response
                await response.write(line + b"\n")
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._streams.discard(stream)
        return response

    async def _hang_if_dead(self, request: web.Request) -> None:
        if request.transport in self._dead or (self.kill and self.writes >= self.kill.write):
            await until_closed(request)
            raise web.HTTPServiceUnavailable
