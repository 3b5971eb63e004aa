"""The command line of the operator."""

import json
import logging
import sys

import pytest

from springtide.cli import operator
from springtide.cli.logs import JsonFormatter
from springtide.controllers.options import Options
from springtide.manifests.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Options]:
    seen: list[Options] = []

    async def run(options: Options) -> int:
        seen.append(options)
        return 0

    monkeypatch.setattr(operator, "run", run)
    return seen


def test_options(started: list[Options]) -> None:
    operator.main(["--model-server-image=m:1", "--namespace=a", "--namespace=b", "--packages-claim=torch"])
    assert started == [Options(Settings("m:1", packages_claim="torch"), ["a", "b"])]


def test_environment(started: list[Options], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_MODEL_SERVER_IMAGE", "m:1")
    monkeypatch.setenv("SPRINGTIDE_NAMESPACES", "a, b")
    monkeypatch.setenv("SPRINGTIDE_HEALTH_PORT", "0")
    operator.main(["--model-server-image=m:2"])
    assert started == [Options(Settings("m:2"), ["a", "b"], health_port=0)]


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("SPRINGTIDE_NAMESPACES", "A_B", "argument --namespace: 'A_B' is not the name of a namespace"),
        ("SPRINGTIDE_HEALTH_PORT", "http", "argument --health-port: invalid int value: 'http'"),
        ("SPRINGTIDE_IMAGE_PULL_POLICY", "Sometimes", "argument --image-pull-policy: invalid choice"),
    ],
)
def test_bad_values_are_named(
    variable: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        operator.main(["--model-server-image=m:1"])
    assert words in capsys.readouterr().err


def test_an_error_is_one_line_of_log() -> None:
    try:
        raise ValueError("a\nb")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "failed on %s", ("it",), sys.exc_info())
    record.key = "ns/name"
    line = JsonFormatter().format(record)
    assert "\n" not in line
    written = json.loads(line)
    assert (written["message"], written["key"], written["level"]) == ("failed on it", "ns/name", "error")
    assert "ValueError" in written["exception"]
