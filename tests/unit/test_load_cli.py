"""The command line of the load generator, and the examples of its guide."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.load.__main__ import main
from tests.unit.load_server import Server
from tests.unit.samples import ROOT


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    one = Server()
    one.start()
    yield one
    one.stop()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "docs/load.md").read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [line.removeprefix("python -m hack.load ") for line in lines if line]


@pytest.mark.parametrize("command", commands())
def test_examples_of_the_guide(
    command: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trace.csv").write_text("t_s,requests\n0,3000\n30,3000\n60,0\n")
    words = shlex.split(command.replace("http://127.0.0.1:8000", server.url))
    words[words.index("--seconds") + 1] = "1"
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["requests"]["failed"] == 0, report["details"]
    assert report["requests"]["ok"] > 0
    assert ("--timeline" in words) == Path("timeline.csv").exists()


def test_the_library_as_the_guide_has_it(server: Server) -> None:
    server.clear()
    (code,) = blocks("python")
    waiting = 'import time\n    while not server.seen["/readyz"]:\n        time.sleep(0.01)'
    code = code.replace("http://127.0.0.1:8000", server.url).replace("...  # roll out", waiting)
    exec(code, {"server": server})  # noqa: S102
    assert server.seen["/readyz"]


def test_the_guide_names_every_outcome() -> None:
    from hack.load.exchange import OUTCOMES

    guide = (ROOT / "docs/load.md").read_text()
    assert all(f"`{outcome}`" in guide for outcome in OUTCOMES)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://127.0.0.1:9"], "exactly one of"),
        (["--rate", "1", "http://192.0.2.7"], "192.0.2.7 isn't this machine's"),
        (["--rate", "1", "--pace", "2", "http://127.0.0.1:9"], "--pace"),
        (["--rate", "1", "--seconds", "x", "http://127.0.0.1:9"], "--seconds"),
        (["--rate", "1", "--header", "x", "http://127.0.0.1:9"], "X-Tenant"),
        (["--rate", "1", "--kind", "chat", "--body", "f", "http://127.0.0.1:9"], "one of --kind"),
        (["--rate", "1"], "URL"),
    ],
)
def test_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as exit_:
        assert isinstance(exit_.code, int)
        code = exit_.code
    shown = capsys.readouterr()
    assert code == 1
    assert said in shown.err
    assert not shown.out


def test_failing_requests_are_no_failure_of_the_command(capsys: pytest.CaptureFixture[str], server: Server) -> None:
    assert main(["--rate", "50", "--requests", "3", f"{server.url}/shed"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"]["failed"] == 3


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_with_a_report(server: Server, asked: signal.Signals, processes: str) -> None:
    server.clear()
    words = ["--rate", "50", "--seconds", "600", "--processes", processes, server.url]
    with subprocess.Popen([sys.executable, "-m", "hack.load", *words], cwd=ROOT, stdout=subprocess.PIPE) as process:
        while server.seen["/"] < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(asked)
        report = json.loads(process.communicate(timeout=120)[0])
    assert process.returncode == 0
    assert report["ended"] == "signal"
    assert report["requests"]["ok"] == report["requests"]["scheduled"] >= 5


def test_a_second_signal_does_not_wait(server: Server) -> None:
    server.clear()
    words = ["--rate", "50", "--seconds", "600", "--timeout-seconds", "600", f"{server.url}/slow?seconds=300"]
    with subprocess.Popen([sys.executable, "-m", "hack.load", *words], cwd=ROOT, stdout=subprocess.PIPE) as process:
        while server.seen["/slow"] < 5:
            time.sleep(0.01)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        report = json.loads(process.communicate(timeout=120)[0])
    assert report["outcomes"]["unfinished"] >= 5
