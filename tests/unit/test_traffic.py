"""The options that say which traffic `springtide simulate` and `backtest` look at."""

import subprocess
import sys
from pathlib import Path

import pytest

from springtide.cli.main import main
from tests.unit.samples import ROOT

SPEC = """
apiVersion: springtide.dev/v1alpha1
kind: ModelService
metadata: {name: chat}
spec:
  model: {uri: "oci://registry.example.com/models/chat:v1"}
  pools:
  - {name: gpu, replicas: {max: 2}}
"""
RANGE = ["--prometheus-url", "http://127.0.0.1:1", "--service", "team-a/chat"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "one of the arguments --trace --prometheus-url is required"),
        (["--trace", "a", *RANGE], "argument --prometheus-url: not allowed with argument --trace"),
        (["--service", "chat"], "argument --service: must be NAMESPACE/NAME of a ModelService, not 'chat'"),
        (["--service", 'a/b"} or up'], "argument --service: must be NAMESPACE/NAME"),
        (["--service", "a/b/c"], "argument --service: must be NAMESPACE/NAME"),
        (["--since", "14"], "argument --since: must be a span such as 14d, 36h or 90m, of 366d at most, not '14'"),
        (["--since", "0d"], "argument --since: must be a span"),
        (["--since", "53w"], "argument --since: must be a span"),
        (["--until", "soon"], "argument --until: must be a time such as 2024-05-12T00:00Z, not 'soon'"),
    ],
)
@pytest.mark.parametrize("command", [["simulate", "--spec", "b", "--replica-rate", "2"], ["backtest"]])
def test_bad_options_are_named(
    command: list[str], options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, *options])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (RANGE[:2], "--service: is needed with --prometheus-url: NAMESPACE/NAME of a ModelService"),
        (["--trace", "a", *RANGE[2:]], "--service: goes with --prometheus-url, not with --trace"),
        (["--trace", "a", "--since", "1d"], "--since: goes with --prometheus-url, not with --trace"),
        (["--trace", "a", "--prometheus-ca-file", "b"], "--prometheus-ca-file: goes with --prometheus-url"),
        ([*RANGE, "--until", "2999-01-01"], "--until: must not be in the future"),
        ([*RANGE, "--until", "1970-01-01"], "--since not lead to before 1970"),
        (["--prometheus-url", "prometheus:9090", *RANGE[2:]], "--prometheus-url: the URL of Prometheus is 'prometheus"),
        (["--prometheus-url", "", *RANGE[2:]], "--prometheus-url: the URL of Prometheus is ''"),
    ],
)
def test_options_that_do_not_fit_are_named(options: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", *options]) == 1
    error = capsys.readouterr().err
    assert line in error
    assert len(error.splitlines()) == 1


def test_prometheus_knows_when_its_past_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = tmp_path / "chat.yaml"
    spec.write_text(SPEC)
    options = ["--spec", str(spec), "--replica-rate", "2", "--start", "2024-05-12"]
    assert main(["simulate", *RANGE, *options]) == 1
    assert capsys.readouterr().err == "--start: goes with --trace; Prometheus knows when it was\n"


def test_other_commands_start_without_numpy_and_prometheus() -> None:
    program = "from springtide.cli.main import main; main(['validate', 'examples/chat.yaml'])"
    check = "import sys; print({'numpy', 'requests'} & set(sys.modules))"
    command = [sys.executable, "-c", f"{program}; {check}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["examples/chat.yaml: chat: valid", "set()"]
