"""Asking a server that is no good Prometheus: each fault has a name, and none keeps anybody waiting."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from springtide.api.errors import Invalid
from springtide.clients.prometheus import Prometheus
from springtide.signals.answers import Answer, Failure, Sample

QUESTION = {"queue": "springtide:queue:sum"}
Behaviour = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Does what the test says to each GET."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.server.behaviour(self)

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """`over` lets handlers that hang go on; it is set when the test has ended."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        self.asked: list[tuple[str, str | None]] = []
        self.behaviour: Behaviour = lambda handler: handler.answer(vector())
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        pass  # whoever asked went away


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()


def vector(*series: tuple[dict[str, str], Any]) -> bytes:
    result = [{"metric": labels, "value": value} for labels, value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


async def ask(server: Server, seconds: float = 20.0) -> Answer:
    return (await Prometheus(server.url, deadline_seconds=seconds).ask(QUESTION))["queue"]


def failed(answer: Answer, fault: str, *words: str) -> None:
    assert isinstance(answer, Failure), answer
    assert answer.fault == fault, answer
    assert all(word in answer.message for word in words), answer.message


async def test_samples(server: Server) -> None:
    body = vector(({"pod": "a", "namespace": "é"}, [1.5, "3"]), ({}, [2, "NaN"]), ({"pod": "b"}, [3, "+Inf"]))
    server.behaviour = lambda handler: handler.answer(body)
    answer = await ask(server)
    assert isinstance(answer, tuple)
    assert answer[0] == Sample({"pod": "a", "namespace": "é"}, 3.0, 1.5)
    assert [str(one.value) for one in answer] == ["3.0", "nan", "inf"]
    path, _ = server.asked[0]
    assert urlsplit(path).path == "/api/v1/query"
    assert parse_qs(urlsplit(path).query) == {"query": ["springtide:queue:sum"]}


async def test_an_empty_result_is_an_answer(server: Server) -> None:
    assert await ask(server) == ()


async def test_one_question_each(server: Server) -> None:
    def by_name(handler: Handler) -> None:
        query = parse_qs(urlsplit(handler.path).query)["query"][0]
        handler.answer(b"no", status=500) if query == "b" else handler.answer(vector(({"q": query}, [1, "1"])))

    server.behaviour = by_name
    answers = await Prometheus(server.url + "/", deadline_seconds=20).ask({"first": "a", "second": "b", "third": "c"})
    assert answers["first"] == (Sample({"q": "a"}, 1.0, 1.0),)
    failed(answers["second"], "Refused", "HTTP 500", "no")
    assert answers["third"] == (Sample({"q": "c"}, 1.0, 1.0),)
    assert len(server.asked) == 3, "nothing is tried again"


@pytest.mark.parametrize(
    ("status", "body", "fault", "words"),
    [
        (401, b"Unauthorized\n", "Unauthorized", ["HTTP 401", "Unauthorized"]),
        (403, b"", "Unauthorized", ["HTTP 403", "Forbidden"]),
        (404, b"<html>\n<h1>no such page</h1>", "Refused", ["HTTP 404", "no such page"]),
        (302, b"", "Refused", ["HTTP 302"]),
        (204, b"", "Refused", ["HTTP 204"]),
        (503, b"\xff\xfe", "Refused", ["HTTP 503"]),
        (
            422,
            b'{"status": "error", "error": "found duplicate series"}',
            "Refused",
            ["HTTP 422: found duplicate series"],
        ),
        (400, b'{"error": ' + b"[" * 100_000, "Refused", ["HTTP 400"]),
    ],
)
async def test_statuses(server: Server, status: int, body: bytes, fault: str, words: list[str]) -> None:
    server.behaviour = lambda handler: handler.answer(body, status, {"Location": "/login"})
    failed(await ask(server), fault, *words)
    assert len(server.asked) == 1, "neither followed nor tried again"


@pytest.mark.parametrize(
    "body",
    [
        b"<html>log in</html>",
        b"",
        b"[]",
        b"null",
        b'{"status": "success"}',
        b'{"status": "success", "data": {"result": null}}',
        b'{"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}',
        b'{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "2"]]}]}}',
        vector(({"pod": "a"}, [1, "three"])),
        vector(({"pod": "a"}, [1, "2", "3"])),
        vector(({"pod": "a"}, [None, "2"])),
        b'{"status": "success", "data": {"result": [{"metric": [], "value": [1, "2"]}]}}',
        b'{"data": ' + b"[" * 100_000,
    ],
    ids=lambda body: body[:60],
)
async def test_what_is_no_answer_of_prometheus(server: Server, body: bytes) -> None:
    server.behaviour = lambda handler: handler.answer(body)
    failed(await ask(server), "Malformed")


async def test_an_answer_without_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("springtide.clients.prometheus.MAX_BYTES", 1 << 20)

    def pour(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not handler.server.over.is_set():
            handler.wfile.write(b" " * 65536)

    server.behaviour = pour
    failed(await ask(server), "Malformed", "1 MiB")


def hang(handler: Handler) -> None:
    handler.server.over.wait()


def begin_and_hang(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"status"')
    handler.server.over.wait()


def drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.server.over.wait(0.01):
        handler.wfile.write(b" ")


@pytest.mark.parametrize("behaviour", [hang, begin_and_hang, drip])
async def test_a_server_that_hangs_delays_nobody(server: Server, behaviour: Behaviour) -> None:
    server.behaviour = behaviour
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    beating = asyncio.create_task(beat())
    failed(await ask(server, 0.3), "TimedOut", "within 0.3 s")
    beating.cancel()
    assert not server.over.is_set(), "it was not waited for"
    assert beats > 10, "others ran meanwhile"


async def test_answers_before_the_deadline_count(server: Server) -> None:
    def slow(handler: Handler) -> None:
        hang(handler) if "query=b" in handler.path else handler.answer(vector())

    server.behaviour = slow
    answers = await Prometheus(server.url, deadline_seconds=0.5).ask({"first": "a", "second": "b", "third": "c"})
    assert answers["first"] == ()
    failed(answers["second"], "TimedOut")
    failed(answers["third"], "TimedOut")


async def test_threads_that_hang_are_few_and_forgiven(server: Server) -> None:
    server.behaviour = drip
    prometheus = Prometheus(server.url, deadline_seconds=0.1)
    before = threading.enumerate()
    for _ in range(8):
        failed((await prometheus.ask(QUESTION))["queue"], "TimedOut")
    hung = [thread for thread in threading.enumerate() if thread not in before and thread.name == "prometheus"]
    assert len(hung) == 4
    failed((await prometheus.ask(QUESTION))["queue"], "TimedOut", "hang still")
    server.behaviour = lambda handler: handler.answer(vector())
    server.over.set()
    for thread in hung:
        await asyncio.to_thread(thread.join, 20)
    for _ in range(100):
        if (await prometheus.ask(QUESTION))["queue"] == ():
            return
    pytest.fail("it never asked again")


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    answer = (await Prometheus(f"http://127.0.0.1:{port}").ask(QUESTION))["queue"]
    failed(answer, "Unreachable", "refused")


async def test_no_such_host() -> None:
    answer = (await Prometheus("http://prometheus.invalid:9090").ask(QUESTION))["queue"]
    assert isinstance(answer, Failure)
    assert answer.fault in {"Unreachable", "TimedOut"}, "a DNS may take long to say no"


async def test_not_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_talk_nonsense, args=(listener,), daemon=True).start()
        answer = (await Prometheus(f"http://127.0.0.1:{listener.getsockname()[1]}").ask(QUESTION))["queue"]
    failed(answer, "Unreachable")


def _talk_nonsense(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


@pytest.mark.parametrize("url", ["", "prometheus:9090", "ftp://prometheus:9090", "http://", "http:///query"])
def test_a_url_that_can_not_be_right(url: str) -> None:
    with pytest.raises(Invalid, match="http://HOST:PORT"):
        Prometheus(url)


async def test_a_token_is_read_each_time(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    token = tmp_path / "token"
    prometheus = Prometheus(server.url, token_file=token, deadline_seconds=20)
    failed((await prometheus.ask(QUESTION))["queue"], "Unreachable", str(token))
    for text in ("first\n", "second\n"):
        token.write_text(text)
        assert (await prometheus.ask(QUESTION))["queue"] == ()
    assert [authorization for _, authorization in server.asked] == ["Bearer first", "Bearer second"]


async def test_no_proxy_out_of_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert await ask(server) == ()


async def test_the_loop_ends_before_the_thread(server: Server) -> None:
    server.behaviour = hang

    def run() -> None:
        asyncio.run(Prometheus(server.url, deadline_seconds=0.2).ask(QUESTION))

    await asyncio.to_thread(run)
    server.over.set()
    for thread in threading.enumerate():
        if thread.name == "prometheus":
            assert thread.daemon
            await asyncio.to_thread(thread.join, 20)
