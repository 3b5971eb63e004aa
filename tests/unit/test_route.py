"""Asking through the route, against a real server on a real socket."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from springtide.clients.route import HttpRoute

Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def serving(*statuses: int) -> AsyncIterator[tuple[str, list[str]]]:
    """Answer with the statuses one after the other, then with the last; yield (url, the paths asked for)."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=statuses[min(len(asked), len(statuses)) - 1])

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    finally:
        await runner.cleanup()


async def test_a_server_that_is_ready_answers_at_once() -> None:
    async with serving(200) as (url, asked):
        assert await HttpRoute().silence(f"{url}/health") == ""
        assert asked == ["/health"]


async def test_a_server_without_that_page_answers_all_the_same() -> None:
    async with serving(404) as (url, _):
        assert await HttpRoute().silence(f"{url}/readyz") == ""


async def test_redirects_are_answers_and_are_not_followed() -> None:
    async with serving(302) as (url, asked):
        assert await HttpRoute().silence(f"{url}/health") == ""
        assert asked == ["/health"]


async def test_one_failure_is_not_silence() -> None:
    async with serving(503, 200) as (url, asked):
        assert await HttpRoute().silence(url) == ""
        assert len(asked) == 2


async def test_three_failures_are_silence_and_say_which() -> None:
    async with serving(503) as (url, _):
        assert await HttpRoute().silence(url) == f"{url} answers with HTTP 503"


async def test_a_server_that_hangs_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("springtide.clients.route._TIMEOUT", aiohttp.ClientTimeout(total=0.05))
    hanging = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with hanging:
        url = f"http://127.0.0.1:{hanging.sockets[0].getsockname()[1]}"
        assert await HttpRoute().silence(url) == f"{url} does not answer: no answer within 2 s"


async def test_nobody_there_is_silence() -> None:
    async with serving(200) as (url, _):
        pass
    assert await HttpRoute().silence(url) != ""


async def test_a_name_server_that_is_silent_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = threading.Event()

    def find(*_: object, **__: object) -> list[object]:
        silent.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", find)
    route = HttpRoute()
    asking = [asyncio.create_task(route.silence(f"http://chat.ns-{number}.svc", 1)) for number in range(50)]
    try:
        await asyncio.sleep(0.5)
        # as every request to the API server does
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 1) == "done"
        assert all("does not answer" in problem for problem in await asyncio.gather(*asking))
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "done"), 1) == "done"
    finally:
        silent.set()
