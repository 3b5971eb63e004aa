"""The load generator against a real server. Nothing here fails because the machine is slow."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.load import Options, run
from tests.unit.load_server import Server, adds_up, load


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    one = Server()
    one.start()
    yield one
    one.stop()


@pytest.fixture
def server(running: Server) -> Server:
    running.clear()
    return running


def test_everything_is_sent_and_counted(server: Server) -> None:
    told = load(server, rate=100, arrivals="constant", kind="embeddings", tokens="4-8", inputs=2, model="minilm")
    adds_up(told)
    assert told["requests"]["ok"] == told["statuses"]["200"] == server.seen["/embeddings"] == 50
    assert told["offered_per_second"] == 100
    assert told["tokens"]["prompt"] == sum(len(text.split()) for body in server.bodies for text in body["input"])
    assert {body["model"] for body in server.bodies} == {"minilm"}
    assert {len(text.split()) for body in server.bodies for text in body["input"]} <= set(range(4, 9))
    assert told["bytes"]["sent"] > 50 * 100
    assert told["sender"]["lateness_ms"]["count"] == told["latency_ms"]["ok"]["count"] == 50
    assert told["targets"][0]["address"] == f"127.0.0.1 port {server.port}"


def test_a_server_that_stalls_shows(server: Server) -> None:
    # A generator that waits for answers would see one slow request in 200.
    told = load(server, "/stall", rate=100, seconds=2, arrivals="constant")
    adds_up(told)
    assert told["requests"]["ok"] == 200
    latency = told["latency_ms"]["ok"]
    assert latency["max"] >= 990
    assert latency["p90"] >= 700, "a hundred requests were due while it stalled"
    assert latency["p99"] >= 900


def test_what_overtaxes_the_connections_is_not_hidden(server: Server) -> None:
    told = load(server, "/slow?seconds=0.2", rate=40, seconds=0.2, arrivals="constant", max_connections=1)
    adds_up(told)
    assert told["requests"]["ok"] == 8, "they are sent late, but sent"
    assert told["connections"]["peak"] == 1
    assert told["connections"]["requests_that_waited"] >= 1
    assert told["sender_saturated"]
    assert "connections" in told["sender"]["saturated_by"]
    assert told["latency_ms"]["ok"]["max"] >= 8 * 200 - 200, "from when it was to be sent"


def test_a_late_sender_says_so(server: Server) -> None:
    told = load(server, max_lateness_milliseconds=0)
    assert told["sender"]["saturated_by"] == ["lateness"]
    assert told["sender_saturated"]


def test_connections_are_kept_or_fresh(server: Server) -> None:
    kept = load(server, concurrency=2, requests=30, seconds=20)
    assert kept["requests"]["ok"] == 30
    assert kept["connections"]["opened"] == len(server.peers) == 2
    server.clear()
    fresh = load(server, concurrency=2, requests=30, seconds=20, connections="fresh")
    assert fresh["requests"]["ok"] == 30
    assert fresh["connections"]["opened"] == len(server.peers) == 30
    assert fresh["connections"]["peak"] <= 2


def test_closed_loop(server: Server) -> None:
    told = load(server, "/slow?seconds=0.05", concurrency=3, seconds=0.4)
    adds_up(told)
    assert told["ended"] == "schedule"
    assert 3 <= told["requests"]["ok"] <= 3 * 9
    assert told["latency_ms"]["ok"]["min"] >= 49


@pytest.mark.parametrize(
    ("path", "outcome", "detail"),
    [
        ("/cut", "truncated", "closed on a fresh connection"),
        ("/cut-stream", "truncated", "closed on a fresh connection"),
        ("/leave", "disconnected", "closed on a fresh connection"),
        ("/no-done", "truncated", "[DONE]"),
        ("/error-in-stream", "stream_error", "out of memory"),
        ("/not-json", "bad_body", "no stream"),
        ("/redirect", "status", ""),
        ("/shed", "status", ""),
    ],
)
def test_answers_that_are_not_good(server: Server, path: str, outcome: str, detail: str) -> None:
    told = load(server, path, kind="chat", stream=True, requests=5)
    adds_up(told)
    assert told["outcomes"] == {outcome: 5}
    assert told["requests"]["failed"] == 5
    assert all(detail in one for one in told["details"]), told["details"]
    assert told["latency_ms"]["ok"] == {"count": 0}
    assert told["latency_ms"]["ok_and_failed"]["count"] == 5
    assert told["attainment"] == 0
    assert server.seen[path] == 5, "nothing is sent again"


def test_retry_after_and_redirects(server: Server) -> None:
    told = load(server, "/shed", requests=5)
    assert told["retry_after"] == {"count": 5, "min_seconds": 3, "max_seconds": 3}
    assert told["statuses"] == {"429": 5}
    assert load(server, "/redirect", requests=5)["statuses"] == {"307": 5}, "followed nowhere"


def test_nobody_listens() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        told = run(Options((url,), rate=20, seconds=0.5))
    adds_up(told)
    assert told["outcomes"] == {"connect_error": told["requests"]["scheduled"]}
    assert list(told["details"]) == ["connect_error: ECONNREFUSED"]
    assert told["requests"]["sent"] == 0


def test_a_listener_that_never_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as unheard, contextlib.ExitStack() as taken:
        address = unheard.getsockname()
        with contextlib.suppress(TimeoutError):
            while True:  # until its queue is full: from then on, connecting hangs
                taken.enter_context(socket.create_connection(address, timeout=0.5))
        options = Options((f"http://127.0.0.1:{address[1]}",), rate=50, seconds=20, requests=10, max_connections=2)
        told = run(dataclasses.replace(options, timeout_seconds=0.2))
    adds_up(told)
    assert told["outcomes"] == {"timeout": 10}
    assert (told["connections"]["opened"], told["connections"]["peak"]) == (0, 2)


def test_a_run_without_requests(server: Server) -> None:
    told = load(server, rate=0.001, seconds=0.1)
    assert (told["requests"]["scheduled"], told["attainment"], told["sender_saturated"]) == (0, None, False)


def test_timeouts_and_the_grace(server: Server) -> None:
    told = load(server, "/slow?seconds=30", requests=3, timeout_seconds=0.1)
    adds_up(told)
    assert told["outcomes"] == {"timeout": 3}
    assert told["latency_ms"]["ok_and_failed"]["min"] >= 99
    told = load(server, "/slow?seconds=30", requests=3, grace_seconds=0.1)
    assert told["outcomes"] == {"unfinished": 3}


def test_streams(server: Server) -> None:
    told = load(server, kind="chat", stream=True, max_tokens=5, requests=8, tokens=7)
    adds_up(told)
    assert told["outcomes"] == {"ok": 8}
    assert told["streams"]["count"] == 8
    assert told["streams"]["events_with_text"] == told["tokens"]["completion"] == 40
    assert told["streams"]["time_to_first_token_ms"]["count"] == 8
    assert told["streams"]["inter_token_ms"]["count"] == 32
    assert told["streams"]["time_to_first_token_ms"]["max"] <= told["latency_ms"]["ok"]["max"]
    assert told["tokens"] | {"completion_per_second": 0} == {
        "prompt": 56, "completion": 40, "completion_per_second": 0, "completion_counted_as_events": 0,
    }  # fmt: skip
    whole = load(server, kind="completions", max_tokens="3,5", requests=20)
    asked = [body["max_tokens"] for body in server.bodies[8:]]
    assert whole["tokens"]["completion"] == sum(asked)
    assert set(asked) == {3, 5}
    without = load(server, "/no-usage", kind="chat", stream=True, requests=4)
    assert without["tokens"]["completion"] == without["tokens"]["completion_counted_as_events"] == 12


def test_goodput_by_class(server: Server) -> None:
    mixed = "X-Priority=critical:0.2,standard:0.5,background:0.3"
    told = load(server, "/some-shed", rate=200, seconds=0.5, header_mix=mixed, slo_milliseconds=1e6)
    adds_up(told)
    assert {value: group["sent"] for value, group in told["classes"].items()} == dict(server.classes)
    assert sum(group["shed"] for group in told["classes"].values()) == told["statuses"]["429"] > 0
    assert told["attainment"] == pytest.approx(told["requests"]["ok"] / told["requests"]["scheduled"], abs=1e-5)
    nothing = load(server, "/slow?seconds=0.02", requests=5, slo_milliseconds=5)
    assert (nothing["attainment"], nothing["goodput_per_second"], nothing["requests"]["ok"]) == (0, 0, 5)


def test_steps(server: Server) -> None:
    told = load(server, rate="10,0,40", seconds=0.9, arrivals="constant")
    assert [(step["rate"], step["scheduled"]) for step in told["steps"]] == [("10", 3), ("40", 12)]


def test_some_leave_early(server: Server) -> None:
    told = load(server, "/slow?seconds=5", abandon=1, abandon_within_seconds=0.1, requests=10)
    adds_up(told)
    assert told["outcomes"] == {"abandoned": 10}
    assert told["attainment"] is None
    assert told["latency_ms"]["ok_and_failed"] == {"count": 0}


def test_until_failures(server: Server) -> None:
    told = load(server, "/shed", rate=50, seconds=20, until_failures=3)
    assert told["ended"] == "failures"
    assert told["requests"]["failed"] >= 3
    assert told["requests"]["not_scheduled"] > 0
    adds_up(told)


def test_headers_fields_and_files(server: Server, tmp_path: Path) -> None:
    headers = (("Host", "models.example"), ("X-Tenant", "a"))
    load(server, kind="chat", headers=headers, fields=(("top_p", "0.5"),), requests=1)
    assert (server.headers[0]["Host"], server.headers[0]["X-Tenant"]) == ("models.example", "a")
    assert server.bodies[0]["top_p"] == 0.5
    raw, template = tmp_path / "raw", tmp_path / "template"
    raw.write_bytes(b"\x00raw")
    load(server, "/some/path?x=1", kind="body", file=raw, content_type="application/octet-stream", requests=1)
    assert (server.bodies[1], server.headers[1]["Content-Type"]) == (b"\x00raw", "application/octet-stream")
    assert server.seen["/some/path"] == 1
    template.write_text('{"text": "$text", "length": $max_tokens, "id": $index}')
    load(server, kind="template", file=template, tokens=3, max_tokens=9, requests=2)
    assert [(len(body["text"].split()), body["length"], body["id"]) for body in server.bodies[2:]] == [
        (3, 9, 0),
        (3, 9, 1),
    ]


def test_targets_in_turn(server: Server) -> None:
    told = run(Options((f"{server.url}/a", f"{server.url}/b"), rate=100, seconds=1, requests=10))
    assert told["requests"]["ok"] == 10
    assert (server.seen["/a"], server.seen["/b"]) == (5, 5)


def test_a_timeline(server: Server, tmp_path: Path) -> None:
    timeline = tmp_path / "timeline.csv"
    told = load(server, "/some-shed", rate=20, seconds=1.5, arrivals="constant", timeline=timeline)
    with timeline.open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["scheduled"]) for row in rows if row["scheduled"] != "0"] == [20, 10]
    for name, total in (("ok", "ok"), ("failed", "failed"), ("completed", "ok")):
        assert sum(int(row[name]) for row in rows) == told["requests"][total]
