"""What the load generator refuses: other machines, and options that can't be."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import pytest

from hack.cluster.spec import Spec
from hack.load import Background, Options, run, targets
from hack.shell import Failure


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://192.0.2.7", "192.0.2.7"),
        ("http://192.0.2.7:8080/v1/models", "192.0.2.7"),
        ("https://[2001:db8::7]/", "2001:db8::7"),
        ("http://[::ffff:192.0.2.7]", "::ffff:192.0.2.7"),
        ("http://0xc0000207", "192.0.2.7"),
        ("http://3221225991", "192.0.2.7"),
        ("http://10.224.0.10", "10.224.0.10"),
        ("http://127.0.0.1@192.0.2.7/", "give user names as a header"),
        ("http://[fe80::1%lo]/", "fe80::1"),
    ],
)
def test_other_machines(url: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "clusters", lambda: [])
    for refuse in (run, Background):
        with pytest.raises(Failure, match=re.escape(address)):
            refuse(Options((url,), rate=1))
    with pytest.raises(Failure, match=re.escape(address)):
        run(Options(("http://127.0.0.1", url), rate=1))


def answers(*found: str) -> Any:
    calls = []

    def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        calls.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    getaddrinfo.calls = calls  # type: ignore[attr-defined]
    return getaddrinfo


def test_names_of_other_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in (["192.0.2.7"], ["127.0.0.1", "192.0.2.7"]):
        monkeypatch.setattr(socket, "getaddrinfo", answers(*found))
        with pytest.raises(Failure, match=r"192\.0\.2\.7 isn't this machine's"):
            targets.resolve("http://models.example/")


def test_a_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = answers("127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    told = run(Options(("http://models.example:9",), rate=50, seconds=0.2, connections="fresh"))
    assert told["requests"]["scheduled"] > 1
    assert told["targets"][0]["address"] == "127.0.0.1 port 9"
    assert lookup.calls == ["models.example"]


def test_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            own = probe.getsockname()[0]
        except OSError:
            own = "127.0.0.1"  # a machine without a network
    for address in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", own):
        assert targets.permitted(address), address
    assert targets.resolve("http://localhost:80/x?y=1").path == "/x?y=1"


def test_local_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "clusters", lambda: [Spec("a", slot=3)])
    for address in ("10.200.3.11", "10.211.4.5", "10.227.0.10"):
        assert targets.permitted(address)
    for address in ("10.200.4.11", "10.212.0.1", "10.224.0.10", "10.0.0.1"):
        assert not targets.permitted(address)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({}, "--rate, --trace and --concurrency"),
        ({"rate": 1, "concurrency": 1}, "--rate, --trace and --concurrency"),
        ({"rate": "fast"}, "--rate fast"),
        ({"rate": "0,0"}, "--rate 0,0"),
        ({"rate": "1.2.3"}, "--rate"),
        ({"rate": 1, "seconds": 3601}, "--seconds 3601"),
        ({"rate": 1, "seconds": float("nan")}, "--seconds"),
        ({"rate": 1, "seconds": 0}, "--seconds 0"),
        ({"rate": 1, "grace_seconds": 601}, "--grace-seconds"),
        ({"rate": 1, "timeout_seconds": 0}, "--timeout-seconds"),
        ({"rate": 1, "abandon": 1.5}, "--abandon"),
        ({"rate": 1, "processes": 65}, "--processes"),
        ({"concurrency": 2, "processes": 3}, "--processes 3"),
        ({"concurrency": 2000}, "--concurrency 2000"),
        ({"rate": 1, "max_connections": 10**6}, "--max-connections"),
        ({"rate": 1, "tokens": "9-3"}, "--tokens 9-3"),
        ({"rate": 1, "max_tokens": 0}, "--max-tokens 0"),
        ({"rate": 1, "kind": "video"}, "--kind video"),
        ({"rate": 1, "kind": "embeddings", "stream": True}, "--stream"),
        ({"rate": 1, "kind": "body"}, "--kind body"),
        ({"rate": 1, "kind": "body", "file": Path("/nonexistent")}, "/nonexistent"),
        ({"rate": 1, "ca": Path("/nonexistent"), "targets": ("https://127.0.0.1",)}, "--ca /nonexistent"),
        ({"trace": Path("/nonexistent")}, "--trace /nonexistent"),
        ({"rate": 1, "header_mix": "X-Priority=a"}, "--header-mix"),
        ({"rate": 1, "header_mix": "X-Priority=a:1,a:2"}, "--header-mix"),
        ({"rate": 1, "header_mix": "Connection=a:1"}, "--header-mix Connection"),
        ({"rate": 1, "headers": (("X", "a\r\nY: b"),)}, "--header X"),
        ({"rate": 1, "headers": (("Content-Length", "1"),)}, "--header Content-Length"),
        ({"rate": 1, "fields": (("top_p", "{"),)}, "--field top_p"),
        ({"rate": 1, "targets": ()}, "no target"),
        ({"rate": 1, "targets": ("ftp://127.0.0.1",)}, "ftp://"),
        ({"rate": 1, "targets": ("http://127.0.0.1:99999",)}, "99999"),
        ({"rate": 1, "targets": ("http://127.0.0.1/a b",)}, "a b"),
        ({"rate": 1, "targets": ("http://no-such-name.invalid",)}, "no-such-name"),
    ],
)
def test_options(options: dict[str, Any], named: str) -> None:
    with pytest.raises(Failure, match=re.escape(named)):
        run(Options(**{"targets": ("http://127.0.0.1:9",), **options}))
