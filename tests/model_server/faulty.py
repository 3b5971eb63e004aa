"""An HTTP server for tests that notes every request and breaks answers as it is told to."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Fault:
    """What happens to the next `times` requests whose "METHOD path?query" the pattern is found in."""

    match: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    cut_at: int | None = None  # the connection ends after so many bytes of the body
    hold_at: int | None = None  # after so many bytes the server waits for `go_on`
    flip: bool = False  # one byte is another one
    replace: tuple[bytes, bytes] | None = None
    drop: str = ""  # headers whose name begins with it
    held: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)


@dataclass
class Seen:
    """A request, and how many bytes of the body were sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0


class FaultyServer:
    """Answers come from `answer`; started by `with`, on a free port of an address of this host."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        raise NotImplementedError

    def __enter__(self) -> "FaultyServer":
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._handle(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((self.address, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for fault in self.faults:
            fault.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}"

    def bytes_sent(self, pattern: str = "") -> int:
        """Of the bodies of all answers to requests that the pattern is found in."""
        return sum(seen.sent for seen in self.asked(pattern))

    def asked(self, pattern: str = "") -> list[Seen]:
        return [seen for seen in list(self.seen) if re.search(pattern, f"{seen.method} {seen.path}")]

    @contextmanager
    def broken(self, fault: Fault) -> Iterator[Fault]:
        self.faults.append(fault)
        try:
            yield fault
        finally:
            fault.go_on.set()
            self.faults.remove(fault)

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        seen = Seen(handler.command, handler.path, httpx.Headers(list(handler.headers.items())))
        with self._lock:
            self.seen.append(seen)
            called = f"{seen.method} {seen.path}"
            fault = next((fault for fault in self.faults if fault.times and re.search(fault.match, called)), None)
            if fault:
                fault.times -= 1
        fault = fault or Fault("")
        if fault.status:
            status, headers, body = fault.status, dict(fault.headers), fault.body or b"{}"
        else:
            status, headers, body = self.answer(seen.method, seen.path, seen.headers)
        if fault.replace:
            body = body.replace(*fault.replace)
            headers["Content-Length"] = str(len(body))
        if fault.drop:
            headers = {name: value for name, value in headers.items() if not name.lower().startswith(fault.drop)}
        if fault.flip:
            body = body[:-1] + bytes([body[-1] ^ 1])
        seen.status = status
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if seen.method == "HEAD":
            return
        for start in range(0, len(body), 1 << 14):
            if fault.hold_at is not None and start >= fault.hold_at:
                fault.held.set()
                fault.go_on.wait(60)
            if fault.cut_at is not None and start >= fault.cut_at:
                handler.close_connection = True
                break
            try:
                handler.wfile.write(body[start : start + (1 << 14)])
            except OSError:  # the client has gone
                handler.close_connection = True
                break
            seen.sent += len(body[start : start + (1 << 14)])
