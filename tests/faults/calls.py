"""What a request to an API server is, and what the fault proxy answers in its place."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass

import aiohttp
from aiohttp import web

_NAMES = {"get": "get", "post": "create", "put": "update", "delete": "delete"}
WRITES = frozenset({"apply", "delete", "patch_status"})


@dataclass
class Call:
    """A request: when it came, what it was, and the answer's HTTP status; 0 while there is none."""

    time: float
    verb: str
    kind: str
    status: int = 0


@dataclass
class Rule:
    """An answer instead of the server's, to some of the matching requests: from the `first` on, `times` times."""

    status: int
    verbs: Collection[str] = ()
    kinds: Collection[str] = ()
    first: int = 1
    times: float = math.inf
    retry_after: int | None = None
    # A watch that began well and ends at once with this status, as API servers refuse a version that is too old.
    as_event: bool = False
    seen: int = 0

    def applies(self, call: Call) -> bool:
        """Whether the request gets this answer; counts it when it matches."""
        if (self.verbs and call.verb not in self.verbs) or (self.kinds and call.kind not in self.kinds):
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.times


@dataclass
class Kill:
    """Kill a process with its n-th write: before it has the answer, or when it has it."""

    write: int
    answered: bool
    pid: Callable[[], int]


@dataclass(eq=False)
class Stream:
    """A watch that is open."""

    kind: str
    response: web.StreamResponse
    held: bool = False


def call_of(request: web.Request) -> Call:
    """Return what a request is."""
    parts = request.path.strip("/").split("/")
    start = 4 if "namespaces" in parts else 2
    rest = parts[start + (parts[0] == "apis") :] if parts[0] in {"api", "apis"} else []
    if not rest:
        return Call(time.monotonic(), "discover", "")
    verb = _NAMES.get(request.method.lower(), "apply")
    if request.method == "PATCH" and rest[2:] == ["status"]:
        verb = "patch_status"
    elif request.method == "GET" and len(rest) == 1:
        verb = "watch" if request.query.get("watch") == "true" else "list"
    return Call(time.monotonic(), verb, rest[0])


def refusal(rule: Rule) -> web.Response:
    """Return the answer of a rule."""
    message = f"the fault proxy answers {rule.status}"
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": rule.status, "message": message}
    headers = {"Retry-After": str(rule.retry_after)} if rule.retry_after is not None else {}
    if rule.as_event:
        return web.Response(text=json.dumps({"type": "ERROR", "object": body}) + "\n")
    return web.json_response(body, status=rule.status, headers=headers)


async def lines_of(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Return the lines of a watch, however long they are."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line


async def until_closed(request: web.Request) -> None:
    """Wait until who asked is gone."""
    while True:
        await asyncio.sleep(0.05)
        if request.transport is None or request.transport.is_closing():
            return
