"""Asking a model through the route that its clients use."""

import asyncio
from typing import Protocol

import aiohttp

_ATTEMPTS = 3
_PAUSE_SECONDS = 0.3
_TIMEOUT = aiohttp.ClientTimeout(total=2)


class Route(Protocol):
    """The way from a client to a model."""

    async def silence(self, url: str, attempts: int = _ATTEMPTS) -> str:
        """Return why nothing answers at the URL; empty when something does."""


class HttpRoute:
    """The network of the cluster, which an operator in the cluster shares with the clients."""

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
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                # Pools may run different servers behind one address: one that lacks the page answers all the same.
                return "" if response.status < 500 else f"{url} answers with HTTP {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return f"{url} does not answer: {str(error) or 'no answer within 2 s'}"
