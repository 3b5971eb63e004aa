"""One request and what became of it. No I/O."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hack.load.events import BadBody, Events, StreamError
from hack.load.http1 import Malformed, Reader

OK = "ok"
STATUS = "status"  # an answer other than 2xx
CONNECT = "connect_error"
LOST = "disconnected"  # before the first byte of an answer
TIMEOUT = "timeout"
TRUNCATED = "truncated"  # the answer ends early; a stream without [DONE] too
BAD = "bad_body"  # no HTTP, no JSON, or not what the API promises
STREAM = "stream_error"  # the server told of an error inside a stream
ABANDONED = "abandoned"  # by us, on purpose
UNFINISHED = "unfinished"  # when the run ended
DROPPED = "dropped"  # never sent: the generator could not keep up
OUTCOMES = (OK, STATUS, CONNECT, LOST, TIMEOUT, TRUNCATED, BAD, STREAM, ABANDONED, UNFINISHED, DROPPED)

MAX_KEPT = 8 * 1024 * 1024
_RESULTS = {"chat": "choices", "completions": "choices", "embeddings": "data"}


class Wanted:
    """What answers must be like."""

    def __init__(self, kind: str, stream: bool, check: bool, inputs: int) -> None:
        self.result = _RESULTS.get(kind, "") if check else ""
        self.results = inputs if kind == "embeddings" else 1
        self.stream = stream and check


class Exchange:
    """From the intended send time to the outcome."""

    __slots__ = (
        "body", "body_size", "detail", "events", "expiry", "finished", "first_piece", "gaps", "index",
        "intended", "last_piece", "opening", "outcome", "reader", "received", "sent", "target", "usage", "value",
        "wanted", "wire",
    )  # fmt: skip

    def __init__(self, index: int, intended: float, wire: bytes, wanted: Wanted, value: str, target: int) -> None:
        self.index, self.intended, self.wire, self.wanted = index, intended, wire, wanted
        self.value, self.target = value, target
        self.reader = Reader()
        self.outcome = ""
        self.detail = ""
        self.finished = 0.0
        self.sent = False
        self.received = self.body_size = 0
        self.body: list[bytes] = []
        self.events: Events | None = None
        self.first_piece = self.last_piece = 0.0
        self.gaps: list[float] = []
        self.usage: dict[str, Any] = {}
        self.opening: asyncio.Task[None] | None = None
        self.expiry: asyncio.TimerHandle | None = None

    def feed(self, data: bytes, now: float) -> None:
        """Take what came; the outcome is there when this was the last of it."""
        self.received += len(data)
        reader = self.reader
        began = reader.status >= 200
        try:
            body = reader.feed(data)
            if not began and 200 <= reader.status < 300:
                self._begin()
            if body:
                self._take(body, now)
        except (Malformed, BadBody) as error:
            self.end(BAD, now, str(error))
        except StreamError as error:
            self.end(STREAM, now, str(error))
        else:
            if reader.complete:
                self._complete(now)

    def cut(self, now: float, reason: str) -> None:
        """Take the end of the connection."""
        if self.reader.close():
            self._complete(now)
        elif self.received:
            self.end(TRUNCATED, now, reason)
        else:
            self.end(LOST, now, reason)

    def end(self, outcome: str, now: float, detail: str = "") -> None:
        """Set the outcome, the first one only."""
        if not self.outcome:
            self.outcome, self.detail, self.finished = outcome, detail, now
            if self.events is not None:
                self.usage = self.events.usage
            self.body.clear()

    def _begin(self) -> None:
        if self.reader.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            self.events = Events()
        elif self.wanted.stream:
            raise BadBody("the answer is no stream of events")

    def _take(self, body: bytes, now: float) -> None:
        if self.events is not None:
            pieces = self.events.feed(body)
            if pieces:
                self._note(pieces, now)
        elif self.wanted.result and self.reader.status < 300:
            self.body_size += len(body)
            if self.body_size > MAX_KEPT:
                raise BadBody(f"the body is larger than {MAX_KEPT} bytes")
            self.body.append(body)

    def _note(self, pieces: int, now: float) -> None:
        if not self.first_piece:
            self.first_piece = self.last_piece = now
            pieces -= 1
        if pieces:  # that came together share the time since the one before
            self.gaps += [(now - self.last_piece) / pieces] * pieces
            self.last_piece = now

    def _complete(self, now: float) -> None:
        if not 200 <= self.reader.status < 300:
            self.end(STATUS, now)
        elif self.events is not None and self.wanted.stream and not self.events.done:
            self.end(TRUNCATED, now, "the stream ends without [DONE]")
        elif self.events is None and self.wanted.result and not self._good():
            self.end(BAD, now, f"the answer is no JSON object with {self.wanted.results} of {self.wanted.result}")
        else:
            self.end(OK, now)

    def _good(self) -> bool:
        try:
            answer = json.loads(b"".join(self.body))
            self.usage = answer.get("usage") or {}
            return len(answer[self.wanted.result]) == self.wanted.results and isinstance(self.usage, dict)
        except (ValueError, TypeError, LookupError, AttributeError):
            return False
