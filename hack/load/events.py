"""Reading server-sent events, and OpenAI's chunks in them. No I/O."""

from __future__ import annotations

import json
from typing import Any

MAX_EVENT = 1024 * 1024
MAX_LINES = 1000


class BadBody(Exception):
    """The body isn't what the API promises."""


class StreamError(Exception):
    """The server says in the stream that it failed."""


class Events:
    """The events of one stream: `pieces` have text in them, `done` turns true with `data: [DONE]`."""

    __slots__ = ("_data", "_line", "done", "pieces", "usage")

    def __init__(self) -> None:
        self.done = False
        self.pieces = 0
        self.usage: dict[str, Any] = {}
        self._line = b""
        self._data: list[bytes] = []

    def feed(self, body: bytes) -> int:
        """Take a part of the body; return how many events with text it completed.

        Raises BadBody for what is no event of OpenAI's API, StreamError for one that tells of an error.
        """
        before = self.pieces
        *lines, self._line = (self._line + body).split(b"\n")
        if len(self._line) > MAX_EVENT or len(self._data) > MAX_LINES:
            raise BadBody("an event is too long")
        for whole in lines:
            line = whole.removesuffix(b"\r")
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
            elif not line and self._data:
                data, self._data = b"\n".join(self._data), []
                self._event(data)
        return self.pieces - before

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event = json.loads(data)
            if not isinstance(event, dict):
                raise BadBody("an event is no JSON object")
            if event.get("error"):
                raise StreamError(_short(event["error"]))
            if isinstance(event.get("usage"), dict):
                self.usage = event["usage"]
            self.pieces += any(_has_text(choice) for choice in event.get("choices") or ())
        except (ValueError, TypeError, AttributeError):
            raise BadBody("an event is no chunk of OpenAI's API") from None


def _has_text(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta") or {}
    return bool(choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls"))


def _short(error: object) -> str:
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:100]
