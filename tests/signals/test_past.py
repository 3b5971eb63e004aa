"""`springtide simulate` and `backtest` over what a real Prometheus has kept of a service."""

import csv
import json
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from springtide.cli.main import main
from tests.signals.prometheus_process import PrometheusProcess

END = int(time.time()) // 60 - 180
FIRST = END - 720
UNTIL = f"{datetime.fromtimestamp(60 * END, UTC):%Y-%m-%dT%H:%MZ}"
GAP = range(FIRST + 300, FIRST + 340)
SPEC = """
apiVersion: springtide.dev/v1alpha1
kind: ModelService
metadata: {name: chat}
spec:
  model: {uri: "oci://registry.example.com/models/chat:v1"}
  pools:
  - {name: gpu, replicas: {min: 1, max: 60}}
"""


def counts() -> dict[int, int]:
    """Requests of each minute, but for a gap, of which nothing is known."""
    random = np.random.default_rng(1)
    rates = {minute: 1200 + 600 * math.sin((minute - FIRST) / 90) for minute in range(FIRST, END)}
    return {minute: int(random.poisson(rate)) for minute, rate in rates.items() if minute not in GAP}


def past() -> Iterator[str]:
    """Yield what the rules would have recorded of two pods of each service, one of them by two Prometheis."""
    yield "# TYPE springtide:requests:rate1m gauge"
    known = counts()
    for namespace, factor in (("team-a", 1), ("team-b", 100)):
        for pod, more in (("a", ""), ("b", ',prometheus="0"'), ("b", ',prometheus="1"')):
            labels = f'namespace="{namespace}",service="chat",pool="gpu",pod="{pod}",source="pod"{more}'
            for minute in range(FIRST, END):
                rate = factor * known.get(minute, math.nan) / 120
                yield f"springtide:requests:rate1m{{{labels}}} {str(rate).replace('nan', 'NaN')} {60 * (minute + 1)}"
    yield "# EOF"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusProcess]:
    with PrometheusProcess(tmp_path_factory.mktemp("prometheus"), past=past()) as process:
        yield process


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The same traffic as a file."""
    with (tmp_path / "trace.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("t_s", "requests"), *((60 * minute, count) for minute, count in counts().items())])
    return tmp_path / "trace.csv"


def asked(url: str, *more: str) -> list[str]:
    return ["--prometheus-url", url, "--service", "team-a/chat", "--since", "12h", "--until", UNTIL, *more]


def simulated(folder: Path, capsys: pytest.CaptureFixture[str], traffic: list[str]) -> tuple[Any, str, str]:
    (folder / "chat.yaml").write_text(SPEC)
    options = ["--spec", str(folder / "chat.yaml"), "--replica-rate", "2", "--warmup-days", "0.125"]
    assert main(["simulate", *traffic, *options, "--timeline", str(folder / "out.csv"), "-o", "json"]) == 0
    printed = capsys.readouterr()
    said = json.loads(printed.out)
    assert said.pop("decision_cpu_milliseconds_p99") > 0
    return said, (folder / "out.csv").read_text(), printed.err


def test_a_simulation_is_that_of_the_same_traffic_in_a_file(
    prometheus: PrometheusProcess, trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *of_file, silence = simulated(tmp_path, capsys, ["--trace", str(trace)])
    *of_range, told = simulated(tmp_path, capsys, asked(prometheus.url))
    assert of_range == of_file
    assert of_range[0]["requests"] > 500_000
    assert of_range[1].splitlines()[1].startswith(f"{60 * FIRST + 10800},")
    assert not silence
    assert told == (
        f"team-a/chat: Prometheus has 680 of the 720 minutes, from "
        f"{datetime.fromtimestamp(60 * FIRST, UTC):%Y-%m-%dT%H:%MZ} to {UNTIL}; 40 between are missing\n"
    )


def test_a_backtest_is_that_of_the_same_traffic_in_a_file(
    prometheus: PrometheusProcess, trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for traffic in (["--trace", str(trace)], asked(prometheus.url)):
        assert main(["backtest", *traffic, "-o", "json"]) == 0
        said.append(json.loads(capsys.readouterr().out))
    of_file, of_range = said
    assert (of_file.pop("trace"), of_range.pop("trace")) == (str(trace), "team-a/chat")
    assert of_range["minutes"] == 720
    assert of_range["models"].keys() == of_file["models"].keys()
    for name, measures in of_file["models"].items():
        means = {measure: value for measure, value in measures.items() if isinstance(value, float)}
        assert {"wape", "mase"} <= means.keys()
        same = {measure: of_range["models"][name][measure] for measure in means}
        assert same == pytest.approx(means, rel=1e-3), name


def test_a_range_of_which_only_the_end_is_kept(
    prometheus: PrometheusProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backtest", *asked(prometheus.url, "--since", "3d"), "-o", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["minutes"] == 720
    assert "Prometheus has 680 of the 4320 minutes" in printed.err


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (
            ["--service", "team-a/chta"],
            f"--service: Prometheus has no requests of team-a/chta in the 0.5 days until {UNTIL}; "
            "it knows team-a/chat, team-b/chat",
        ),
        (["--since", "10m", "--until", "2020-05-12T00:00Z"], "it knows of no service at that time"),
        (["--prometheus-url", "{url}/prometheus"], "--prometheus-url: Refused: HTTP 404"),
        (["--prometheus-url", "http://127.0.0.1:1"], "--prometheus-url: Unreachable: "),
        (["--prometheus-url", "https://127.0.0.1:1", "--prometheus-ca-file", "/nowhere"], "invalid path: /nowhere"),
        (["--prometheus-token-file", "/nowhere"], "the token can't be read"),
        (["--since", "60m"], "team-a/chat: "),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "backtest"])
def test_what_is_wrong_is_said_in_a_line(
    command: str,
    more: list[str],
    words: str,
    prometheus: PrometheusProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "chat.yaml").write_text(SPEC)
    options = ["--spec", str(tmp_path / "chat.yaml"), "--replica-rate", "2"] if command == "simulate" else []
    arguments = asked(prometheus.url, *(option.format(url=prometheus.url) for option in more))
    assert main([command, *arguments, *options]) == 1
    printed = capsys.readouterr()
    assert not printed.out
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1


def test_without_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # The password is `test`.
    web = "basic_auth_users: {admin: $2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay}\n"
    with PrometheusProcess(tmp_path, web=web) as guarded:
        assert main(["backtest", *asked(guarded.url)]) == 1
    assert capsys.readouterr().err == "--prometheus-token-file: Unauthorized: HTTP 401: Unauthorized\n"
