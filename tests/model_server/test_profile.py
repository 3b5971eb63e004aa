"""Traces and load reports of a server that serves meanwhile."""

import gzip
import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.model_server.process import ServerProcess, error_of

PROFILE = "/debug/profile"


@pytest.fixture(scope="module")
def open_server(minilm: Path) -> Iterator[ServerProcess]:
    with ServerProcess(minilm, "mini", "Embed", "--enable-profiling", "--load-report") as server:
        yield server.wait_ready()


def test_a_trace_has_what_the_engine_computes_while_it_serves(open_server: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool:
        profiling = pool.submit(open_server.client.get, PROFILE, params={"seconds": "3"})
        answered = 0
        while not profiling.done():
            response = open_server.post("/v1/embeddings", input="high tide")
            assert response.status_code == 200
            answered += 1
        trace = profiling.result()
    assert answered > 1
    assert (trace.status_code, trace.headers["content-type"]) == (200, "application/gzip")
    assert float(trace.headers["x-profile-seconds"]) >= 3
    events = json.loads(gzip.decompress(trace.content))["traceEvents"]
    assert any(event.get("name") == "aten::addmm" for event in events)


def traces() -> set[Path]:
    return set(Path(tempfile.gettempdir()).glob("springtide-profile-*"))


def test_one_at_a_time(open_server: ServerProcess) -> None:
    before = traces()  # of servers that were killed
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: open_server.client.get(PROFILE, params={"seconds": "2"}), range(2)))
    codes = sorted(response.status_code for response in both)
    assert codes == [200, 409]
    assert error_of(max(both, key=lambda response: response.status_code))["code"] == "profile_running"
    assert open_server.client.get(PROFILE, params={"seconds": "1"}).status_code == 200
    # A trace is removed once it has been sent.
    open_server._wait_for(lambda: not traces() - before)


@pytest.mark.parametrize("seconds", ["0", "31", "-1", "1.5", "x", "", "9" * 5000, "²"])
def test_bad_lengths(open_server: ServerProcess, seconds: str) -> None:
    response = open_server.client.get(PROFILE, params={"seconds": seconds})
    assert (response.status_code, error_of(response)["param"]) == (400, "seconds")


def test_off_unless_it_is_asked_for(embed: ServerProcess) -> None:
    response = embed.client.get(PROFILE)
    assert (response.status_code, "--enable-profiling" in error_of(response)["message"]) == (403, True)


def test_load_reports(open_server: ServerProcess, embed: ServerProcess) -> None:
    header = "endpoint-load-metrics"
    always = open_server.post("/v1/embeddings", input="high tide").headers[header]
    assert always.startswith("TEXT application_utilization=")
    assert "named_metrics.queue_utilization=0" in always
    assert header not in open_server.client.get("/healthz").headers
    assert header not in embed.post("/v1/embeddings", input="high tide").headers
    asked = embed.post("/v1/embeddings", {"endpoint-load-metrics-format": "JSON"}, input="high tide").headers[header]
    assert {"application_utilization", "cpu_utilization", "rps_fractional"} <= set(
        json.loads(asked.removeprefix("JSON "))
    )
    nonsense = embed.post("/v1/embeddings", {"endpoint-load-metrics-format": "xml"}, input="high tide")
    assert (nonsense.status_code, header in nonsense.headers) == (200, False)
