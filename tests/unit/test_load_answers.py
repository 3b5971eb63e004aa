"""Reading answers, in whatever pieces they come."""

from __future__ import annotations

import itertools
import random

import pytest

from hack.load.events import BadBody, Events, StreamError
from hack.load.exchange import Exchange, Wanted
from hack.load.http1 import Malformed, Reader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nTrailer: x\r\n\r\n"
)


def pieces(whole: bytes, seed: int) -> list[bytes]:
    rng = random.Random(seed)  # noqa: S311
    cuts = sorted({rng.randrange(len(whole) + 1) for _ in range(rng.randrange(1, 30))} | {0, len(whole)})
    return [whole[begin:end] for begin, end in itertools.pairwise(cuts)]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(
    ("whole", "status", "body"),
    [
        (CHUNKED, 200, b"hello world"),
        (b"HTTP/1.1 429 Too Many\r\ncontent-length: 3\r\nRetry-After:7\r\n\r\nabc", 429, b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b""),
    ],
)
def test_whole_responses(whole: bytes, status: int, body: bytes, seed: int) -> None:
    reader = Reader()
    found = b""
    for piece in pieces(whole, seed):
        assert not reader.complete
        found += reader.feed(piece)
    assert (reader.status, found, reader.complete, reader.keep, reader.extra) == (status, body, True, True, False)


def test_until_the_connection_closes() -> None:
    reader = Reader()
    assert reader.feed(b"HTTP/1.0 200 OK\r\n\r\nabc") == b"abc"
    assert reader.feed(b"def") == b"def"
    assert not reader.complete
    assert reader.close()
    assert not reader.keep


@pytest.mark.parametrize("end", range(len(CHUNKED)))
def test_a_cut_response_is_never_whole(end: int) -> None:
    reader = Reader()
    reader.feed(CHUNKED[:end])
    assert not reader.close()


def test_connections_that_must_not_be_kept() -> None:
    for head in (b"HTTP/1.1 200 OK\r\nConnection: Close", b"HTTP/1.0 200 OK"):
        reader = Reader()
        reader.feed(head + b"\r\nContent-Length: 1\r\n\r\nx")
        assert reader.complete
        assert not reader.keep
    reader = Reader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxy")
    assert (reader.complete, reader.extra, reader.keep) == (True, True, False)


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 999 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000,
    ],
)
def test_what_is_no_response(data: bytes) -> None:
    with pytest.raises(Malformed):
        Reader().feed(data)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_events(newline: bytes, seed: int) -> None:
    lines = [
        b": a comment", b"",
        b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}', b"",
        b"event: x", b'data:{"choices":[{"delta":{"content":"a"}}]}', b"",
        b'data: {"choices":', b'data: [{"text":"b"}]}', b"",
        b'data: {"choices":[],"usage":{"completion_tokens":2}}', b"",
        b"data: [DONE]", b"", b"",
    ]  # fmt: skip
    events = Events()
    counted = sum(events.feed(piece) for piece in pieces(newline.join(lines), seed))
    assert (counted, events.pieces, events.done, events.usage) == (2, 2, True, {"completion_tokens": 2})


def test_events_that_are_none() -> None:
    for data in (b"data: nonsense\n\n", b"data: []\n\n", b'data: {"choices": 3}\n\n', b"x" * 2_000_000):
        with pytest.raises(BadBody):
            Events().feed(data)
    with pytest.raises(StreamError, match="out of memory"):
        Events().feed(b'data: {"error": {"message": "out of memory"}}\n\n')


def exchange(kind: str, stream: bool = False) -> Exchange:
    return Exchange(0, 1.0, b"", Wanted(kind, stream, True, 1), "", 0)


def answered(body: bytes, content: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (content, len(body), body)


@pytest.mark.parametrize(
    ("kind", "body", "outcome"),
    [
        ("embeddings", b'{"data": [{}]}', "ok"),
        ("embeddings", b'{"data": []}', "bad_body"),
        ("embeddings", b'{"data": [{}', "bad_body"),
        ("chat", b'{"choices": [{}], "usage": null}', "ok"),
        ("chat", b"[]", "bad_body"),
        ("get", b"anything", "ok"),
    ],
)
def test_whole_answers_are_looked_into(kind: str, body: bytes, outcome: str) -> None:
    one = exchange(kind)
    one.feed(answered(body), 2.0)
    assert one.outcome == outcome


def test_times_of_a_stream() -> None:
    one = exchange("chat", stream=True)
    one.feed(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", 1.5)
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    for number, now in ((1, 2.0), (1, 2.25), (2, 3.25)):
        one.feed(b"%x\r\n%b\r\n" % (len(event) * number, event * number), now)
    one.feed(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", 4.0)
    assert (one.outcome, one.first_piece, one.gaps, one.finished) == ("ok", 2.0, [0.25, 0.5, 0.5], 4.0)


def test_an_answer_that_should_be_a_stream() -> None:
    one = exchange("chat", stream=True)
    one.feed(answered(b'{"choices": [{}]}'), 2.0)
    assert one.outcome == "bad_body"


def test_ends_of_connections() -> None:
    unanswered, cut = exchange("get"), exchange("get")
    unanswered.cut(2.0, "closed")
    assert unanswered.outcome == "disconnected"
    cut.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", 2.0)
    cut.cut(3.0, "closed")
    assert cut.outcome == "truncated"
