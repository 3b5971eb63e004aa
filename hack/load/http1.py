"""Reading HTTP/1.1 responses. No I/O: bytes go in, bytes of the body come out."""

from __future__ import annotations

import functools
import re

_MAX_HEAD = 64 * 1024
_MAX_LINE = 8 * 1024
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5]\d\d)(?: |\r|$)")
_NUMBER = re.compile(rb"\d{1,15}")
_SIZE = re.compile(rb"\s*([0-9a-fA-F]{1,12})\s*(?:;.*)?")
_HEAD, _LENGTH, _CHUNK, _AFTER_CHUNK, _SIZE_LINE, _TRAILERS, _UNTIL_CLOSE = range(7)


class Malformed(Exception):
    """What came is no HTTP/1.1 response."""


@functools.lru_cache(maxsize=64)  # most responses of one second have the same head
def _parse(head: bytes) -> tuple[bytes, int, dict[bytes, bytes]]:
    first, *lines = head.split(b"\r\n")
    found = _STATUS.match(first)
    if not found:
        raise Malformed("the first line of the response is no status line of HTTP/1.1")
    headers: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if not colon or (name == b"content-length" and headers.get(name, value) != value):
            raise Malformed("a header of the response has no colon, or there are two lengths")
        headers[name] = value
    return found[1], int(found[2]), headers


class Reader:
    """One response. `complete` turns true with its last byte, `keep` tells whether the connection may be used again."""

    __slots__ = ("_buffer", "_left", "_phase", "complete", "extra", "headers", "keep", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        self.keep = False
        self.extra = False
        self._phase = _HEAD
        self._buffer = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """Take what came; return what of it belongs to the body.

        Raises Malformed.
        """
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        while self._phase == _HEAD:
            end = data.find(b"\r\n\r\n")
            if end < 0 or end > _MAX_HEAD:
                if len(data) > _MAX_HEAD or not b"HTTP/1.".startswith(data[:7]):
                    raise Malformed("the head of the response is no HTTP/1.1, or too long")
                self._buffer = data
                return b""
            self._read_head(data[:end])
            data = data[end + 4 :]
            if self.complete:
                self._end(data)
                return b""
        if self._phase == _LENGTH:
            part = data[: self._left]
            self._left -= len(part)
            if not self._left:
                self._end(data[len(part) :])
            return part
        return data if self._phase == _UNTIL_CLOSE else self._chunks(data)

    def close(self) -> bool:
        """Take the end of the connection; return whether the response is whole."""
        if self._phase == _UNTIL_CLOSE:
            self.complete = True
        return self.complete

    def _read_head(self, head: bytes) -> None:
        minor, self.status, headers = _parse(head)
        if self.status < 200:
            if self.status == 101:
                raise Malformed("the server switches protocols, which nobody asked for")
            return  # an interim response: the real one follows
        self.headers = headers
        self.keep = minor == b"1" and b"close" not in headers.get(b"connection", b"").lower()
        length = headers.get(b"content-length")
        if self.status in {204, 304}:
            self.complete, self._phase = True, _LENGTH
        elif b"transfer-encoding" in headers:
            if headers[b"transfer-encoding"].lower() != b"chunked":
                raise Malformed("the transfer encoding of the response is not chunked")
            self._phase = _SIZE_LINE
        elif length is not None:
            if not _NUMBER.fullmatch(length):
                raise Malformed("the length of the response is no number")
            self._left, self._phase = int(length), _LENGTH
            self.complete = not self._left
        else:
            self._phase, self.keep = _UNTIL_CLOSE, False

    def _chunks(self, data: bytes) -> bytes:
        parts = []
        at = 0
        while not self.complete:
            if self._phase == _CHUNK:
                part = data[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                if self._left:
                    break
                self._phase = _AFTER_CHUNK
            end = data.find(b"\r\n", at)
            if end < 0:
                if len(data) - at > _MAX_LINE:
                    raise Malformed("a line between chunks is too long")
                self._buffer = data[at:]
                break
            line, at = data[at:end], end + 2
            self._line(line)
        if self.complete:
            self._end(data[at:])
        return b"".join(parts)

    def _line(self, line: bytes) -> None:
        if self._phase == _AFTER_CHUNK:
            if line:
                raise Malformed("a chunk is longer than it says")
            self._phase = _SIZE_LINE
        elif self._phase == _SIZE_LINE:
            found = _SIZE.fullmatch(line)
            if not found:
                raise Malformed("the size of a chunk is no number")
            self._left = int(found[1], 16)
            self._phase = _CHUNK if self._left else _TRAILERS
        else:
            self.complete = not line

    def _end(self, rest: bytes) -> None:
        self.complete = True
        if rest:
            self.extra, self.keep = True, False
