"""Asking a model through the route that its clients use."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.3
_TIMEOUT = aiohttp.ClientTimeout(total=2)


class Route(Protocol):
    """The way from a client to a model."""

    async def silence(self, url: str, attempts: int = _ATTEMPTS) -> str:
        """Return why nothing answers at the URL; empty when something does."""


class HttpRoute:
    """The network of the cluster, which an operator in the cluster shares with the clients."""

    def __init__(self) -> None:
        self._resolver = _OwnThreads()

    async def silence(self, url: str, attempts: int = _ATTEMPTS) -> str:
        """Ask at the URL, on a new connection each time; one answer is enough.

        A busy server may be late once, and rules for a new endpoint take a moment to reach every node.
        """
        problem = ""
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(_PAUSE_SECONDS)
            problem = await self._ask(url)
            if not problem:
                break
        return problem

    async def _ask(self, url: str) -> str:
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=_TIMEOUT, connector=aiohttp.TCPConnector(resolver=self._resolver)
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                # Pools may run different servers behind one address: one that lacks the page answers all the same.
                return "" if response.status < 500 else f"{url} answers with HTTP {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{url} does not answer: {str(error) or 'no answer within 2 s'}"


class _OwnThreads(AbstractResolver):
    """Finds addresses in threads of its own.

    While cluster DNS is away each question holds its thread for most of a minute, whatever time-out waits for it. The
    event loop's own threads are few, and every request to the API server needs one for a moment.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=8, thread_name_prefix="route-dns")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _addresses, host, port, family)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=family, proto=proto, flags=_NUMERIC)
            for family, _, proto, _, address in found
        ]

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[tuple[Any, ...]]:
    return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
