"""`springtide simulate`."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from springtide.cli import main
from springtide.cli.simulation import POLICIES
from springtide.simulation import clairvoyant
from tests.unit.samples import ROOT

TRACES = ROOT.parent / "shared" / "traces"
SPEC = """
apiVersion: springtide.dev/v1alpha1
kind: ModelService
metadata: {name: chat}
spec:
  model: {uri: "oci://registry.example.com/models/chat:v1"}
  pools:
  - {name: gpu, replicas: {min: 1, max: 60}, costPerHour: "2.50"}
"""
NOWHERE = "{name: a, timezone: Mars/Base, start: '08:00', end: '09:00', minReplicas: 2}"
KEYS = {
    *("attainment", "gpu_hours", "gpu_hours_clairvoyant", "cost", "actions", "removed_while_loading"),
    *("wait_p50_seconds", "wait_p99_seconds", "peak_replicas", "decision_cpu_milliseconds_p99"),
}
COLUMNS = ["t_s", "arrivals", "created", "ready", "target", "queue", "late"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    random = np.random.default_rng(1)
    trace, spec = tmp_path / "trace.csv", tmp_path / "chat.yaml"
    rows = [f"{60 * minute},{random.poisson(1200 + 600 * math.sin(minute / 90))}" for minute in range(720)]
    trace.write_text("t_s,requests\n" + "\n".join(rows))
    spec.write_text(SPEC)
    return trace, spec


def simulate(files: tuple[Path, Path], *options: str) -> int:
    trace, spec = files
    arguments = ["simulate", "--trace", str(trace), "--spec", str(spec), "--replica-rate", "2", *options]
    return main.main([*arguments, "--warmup-days", "0.125"])


@pytest.mark.parametrize(
    "policy",
    POLICIES,
)
def test_a_reader_can_recompute_all(
    policy: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert simulate(files, "--policy", policy, "--timeline", str(tmp_path / "out.csv"), "-o", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said.keys() >= KEYS
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    table = {name: np.array([int(row[name]) for row in rows]) for name in COLUMNS}
    assert table["t_s"].tolist() == list(range(10800, 43200, 10))
    assert said["attainment"] == pytest.approx(1 - table["late"].sum() / table["arrivals"].sum())
    assert said["gpu_hours"] == pytest.approx(table["created"].sum() / 360)
    assert said["cost"] == pytest.approx(2.5 * said["gpu_hours"])
    assert said["peak_replicas"] == table["created"].max()
    by_second = np.repeat(table["arrivals"], 10) // 10
    best, _ = clairvoyant.best(by_second, 180.0, 2.0, 5.0, 0.99)
    assert said["gpu_hours_clairvoyant"] == pytest.approx(best.sum() * 30 / 3600, rel=0.05)


def test_a_report_for_people(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate(files, "--policy", "hpa") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("hpa, 0.4 days, ")
    for words in ("attainment", "times the clairvoyant's", "replica changes", "p99"):
        assert words in shown


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ((", max: 60", ""), "spec.pools[0].replicas.max: is required"),
        (("costPerHour", "tier: Offline, costPerHour"), "spec.pools[0].tier: an Offline pool"),
        (("max: 60", "max: 0"), "chat.yaml:8: spec.pools[0].replicas.max"),
        (("kind: ModelService", "kind: Service"), "must hold one ModelService, not 0"),
        (
            (
                "  pools:",
                f"  scaling: {{schedules: [{NOWHERE}]}}\n  pools:",
            ),
            "Mars/Base",
        ),
    ],
)
def test_what_is_wrong_with_a_spec_is_named(
    edit: tuple[str, str], words: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files[1].write_text(SPEC.replace(*edit))
    assert simulate(files) == 1
    assert words in capsys.readouterr().err


def test_what_is_wrong_with_a_trace_is_named(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    files[0].write_text("t_s,requests\n0,1\n60,x\n")
    assert simulate(files) == 1
    assert "trace.csv:3: expected numbers for t_s,requests" in capsys.readouterr().err
    files[0].write_bytes(b"\xff\xfe")
    assert simulate(files) == 1
    assert "must be text in UTF-8" in capsys.readouterr().err
    files[0].unlink()
    assert simulate(files) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_warm_up_that_leaves_nothing(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    trace, spec = files
    assert main.main(["simulate", "--trace", str(trace), "--spec", str(spec), "--replica-rate", "2"]) == 1
    assert "leave nothing after --warmup-days 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--replica-rate=0", "must be more than 0"),
        ("--replica-rate=two", "must be a number"),
        ("--cold-start-seconds=inf", "must be a finite number"),
        ("--warmup-days=-1", "must not be below 0"),
        ("--policy=none", "invalid choice"),
        ("--start=soon", "must be a time such as"),
    ],
)
def test_bad_options_are_named(option: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["simulate", "--trace", "a", "--spec", "b", option])
    assert words in capsys.readouterr().err


def test_a_recorded_day_of_chat(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = TRACES / "azure2024_conv_10s_days1-5.csv"
    if not recorded.exists():
        pytest.skip(f"{recorded} is not here")
    lines = recorded.read_text().splitlines()
    (tmp_path / "day.csv").write_text("\n".join(lines[: 8640 + 1]))
    (tmp_path / "chat.yaml").write_text(SPEC)
    files = tmp_path / "day.csv", tmp_path / "chat.yaml"
    assert simulate(files, "--policy", "springtide-last-value", "-o", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["attainment"] > 0.97
    assert said["gpu_hours"] < 1.4 * said["gpu_hours_clairvoyant"]
    assert said["removed_while_loading"] == 0
