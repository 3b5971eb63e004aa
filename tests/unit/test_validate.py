"""`springtide validate` and `springtide explain`."""

import io
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from springtide.cli.main import main
from tests.unit import forecast_specs
from tests.unit.samples import ROOT
from tests.unit.specs import BAD, BAD_NAMES, GOOD, MODEL

HEAD = "apiVersion: springtide.dev/v1alpha1\nkind: ModelService\n"
CHAT = HEAD + "metadata: {name: chat}\nspec:\n  model: {uri: 'oci://x/y'}\n"


def written(folder: Path, text: str) -> str:
    path = folder / "a.yaml"
    path.write_text(text)
    return str(path)


def validated(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    file = written(folder, text)
    code = main(["validate", file])
    return code, [line.removeprefix(f"{file}:") for line in capsys.readouterr().out.splitlines()]


def as_yaml(name: str, **spec: Any) -> str:
    whole = {"model": MODEL, "pools": [{"name": "cpu"}]} | spec
    return HEAD + yaml.safe_dump({"metadata": {"name": name}, "spec": whole})


def forecast(**spec: Any) -> str:
    head = {"apiVersion": "springtide.dev/v1alpha1", "kind": "TrafficForecast", "metadata": {"name": "x"}}
    return yaml.safe_dump(head | {"spec": forecast_specs.NAME | spec})


@pytest.mark.parametrize(("spec", "words"), BAD, ids=str)
def test_what_the_api_server_refuses_is_found(
    spec: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = validated(tmp_path, as_yaml("bad", **spec), capsys)
    assert code == 1
    assert any(words[0] in line for line in lines), lines


@pytest.mark.parametrize(("name", "pools", "word"), BAD_NAMES)
def test_names_that_make_no_service_are_found(
    name: str, pools: list[dict[str, Any]], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = validated(tmp_path, as_yaml(name, pools=pools), capsys)
    assert code == 1
    assert word in lines[0]


@pytest.mark.parametrize("spec", GOOD, ids=str)
def test_what_the_api_server_takes_is_valid(
    spec: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validated(tmp_path, as_yaml("good", **spec), capsys) == (0, [" good: valid"])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a: 1\nb: [}\n", ["2: not YAML: "]),
        (
            "a: b\n--- \nx: !own 1\n",
            ["1: kind: must be ModelService or ", "3: not YAML: could not determine"],
        ),
        ("a: \x07\n", ["1: not YAML: special characters are not allowed"]),
        ("&a [*a]\n", ["1: not YAML: an alias refers to what it is part of"]),
        ("- 1\n", ["1: must be a mapping"]),
        (CHAT.replace("v1alpha1", "v1") + "  pools: [{name: a}]\n", ["1: apiVersion: must be springtide.dev/v1alpha1"]),
        (CHAT + "  pools: [{name: a}]\nreplicas: 1\n", ["7: replicas: unknown field"]),
        (CHAT + "  pools:\n  - name: a\n    gpu: 1\n", ["8: spec.pools[0].gpu: unknown field"]),
        (CHAT + "  pools:\n  - name: a\n    gpu:\n", ["8: spec.pools[0].gpu: unknown field"]),
        (CHAT + "  pools:\n  - name: a\n    node_selector: {}\n", ["8: spec.pools[0].node_selector: unknown field"]),
        (CHAT + "  pools:\n  - name: a\n    name: b\n", ["8: spec.pools[0].name: stands here twice"]),
        (CHAT + "  pools:\n  - tier: Offline\n", ["7: spec.pools[0].name: is required"]),
        (CHAT + "  pools: {name: a}\n", ["6: spec.pools: must be a list"]),
        (CHAT + "  pools: []\n", ["6: spec.pools: must have at least 1 item"]),
        (CHAT + "  pools: [a]\n", ["6: spec.pools[0]: must be a mapping"]),
        (CHAT + "  pools: [{name: a}, {name: a}]\n", ["6: spec.pools[1]: duplicate name 'a'"]),
        (
            CHAT + "  pools:\n  - name: a\n    replicas:\n      min: 3\n      max: 2\n  replicas: 2024-01-01\n",
            [
                "10: spec.pools[0].replicas.max: max must not be less than min (which is 1 unless set)",
                "11: spec.replicas: must be an integer",
            ],
        ),
        (HEAD + "metadata: {name: chat}\n", ["1: spec: is required"]),
        (HEAD + "spec: {model: {uri: 'oci://x/y'}, pools: [{name: a}]}\n", ["1: metadata: must be a mapping with"]),
        (CHAT.replace("name: chat", "nam: chat") + "  pools: [{name: a}]\n", ["3: metadata.nam: ", "3: metadata.name"]),
        (CHAT.replace("chat", "Chat") + "  pools: [{name: a}]\n", ["3: metadata.name must begin with a letter"]),
    ],
)
def test_problems_have_lines(text: str, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = validated(tmp_path, text, capsys)
    assert code == 1
    assert len(found) == len(lines), found
    assert all(line.startswith(wanted) for line, wanted in zip(found, lines, strict=True)), found


def test_other_kinds_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "---\n---\nkind: ConfigMap\nmetadata: {name: x}\n---\n" + CHAT + "  pools: [{name: a}]\n"
    skipped = "3: x: skipped: ConfigMap is no ModelService or TrafficForecast"
    assert validated(tmp_path, text, capsys) == (0, [skipped, " chat: valid"])


def test_files_that_can_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b").write_bytes(b"\xff")
    assert main(["validate", str(tmp_path / "absent"), str(tmp_path / "b")]) == 1
    absent, binary = capsys.readouterr().out.splitlines()
    assert absent.endswith("absent:1: can't be read: No such file or directory")
    assert binary.endswith("b:1: can't be read: is not UTF-8")


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(CHAT + "  pools: [{name: a}]\n"))
    assert main(["validate", "-"]) == 0
    assert capsys.readouterr().out == "-: chat: valid\n"


def test_explain_applies_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, CHAT + "  pools: [{name: a, tier: Offline}, {name: b}]\n  replicas: 3\n")
    assert main(["explain", file, "--model-server-image=m:1"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["name"], shown["url"]) == ("chat", "http://chat.default.svc")
    first, second = shown["pools"]
    assert (first["replicas"], first["online"]) == (3, False)
    assert (first["runtime"]["image"], first["model"]["task"]) == ("m:1", "Generate")
    assert (second["replicas"], second["online"], second["model"]["location"]) == (1, True, "x/y")


@pytest.mark.parametrize(("spec", "words"), forecast_specs.BAD, ids=lambda one: str(one)[:80])
def test_what_the_api_server_refuses_of_a_forecast_is_found(
    spec: dict[str, Any], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = validated(tmp_path, forecast(**spec), capsys)
    assert code == 1
    assert any(words[0] in line for line in lines), lines


@pytest.mark.parametrize("spec", forecast_specs.GOOD, ids=lambda one: str(one)[:80])
def test_what_the_api_server_takes_of_a_forecast_is_valid(
    spec: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validated(tmp_path, forecast(**spec), capsys) == (0, [" x: valid"])


def test_problems_of_a_forecast_have_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = forecast(**forecast_specs.announcement(multiplier=1, endsAt="2026-12-01T19:00:00Z"), note="x")
    _, lines = validated(tmp_path, text, capsys)
    assert [line.split(": ", 1)[1] for line in lines] == [
        "spec.announcement.multiplier: must be more than 1 and at most 10000",
        "spec.note: unknown field",
    ]
    line = lines[0].split(":")[0]
    assert "multiplier" in text.splitlines()[int(line) - 1]


def test_what_the_guides_show_of_forecasts_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/forecast.md").read_text(), re.S)
    shown = [block for block in blocks if "kind: TrafficForecast" in block]
    assert validated(tmp_path, "---\n".join(shown), capsys) == (0, [" new-year: valid", " chat-demand: valid"])


def test_explain_tells_what_a_forecast_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = forecast_specs.series(forecast_specs.quantile(500, 1500, 2000), issuedAt="2026-12-01T21:55:00+02:00")
    launch = forecast_specs.announcement(multiplier="2500m")
    assert main(["explain", written(tmp_path, forecast(**made) + "---\n" + forecast(**launch))]) == 0
    series, announced = yaml.safe_load_all(capsys.readouterr().out)
    assert series["rates"] == [{500: 1.5}, {500: 2.0}]
    assert (series["from"], series["until"]) == ("2026-12-01T19:55:00+00:00", "2026-12-01T19:57:00+00:00")
    assert (announced["service"], announced["times"]) == ("chat", 2.5)
    assert main(["explain", "--manifests", written(tmp_path, forecast(**launch))]) == 0
    assert capsys.readouterr().out == "", "it has no child objects"


def test_explain_prints_the_children(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(ROOT / "examples/chat.yaml"), "--manifests", "--packages-claim=torch"]) == 0
    children = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [one["kind"] for one in children] == [
        *("ServiceAccount", "NetworkPolicy", "ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "Service"),
        "ControllerRevision",
    ]
    assert "ownerReferences" not in children[0]["metadata"]
    volumes = children[3]["spec"]["template"]["spec"]["volumes"]
    assert {"claimName": "torch", "readOnly": True} in [one.get("persistentVolumeClaim") for one in volumes]


def test_explain_refuses_what_is_not_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", written(tmp_path, CHAT)]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a.yaml:4: spec.pools: is required" in shown.err


def test_no_client_is_imported() -> None:
    text = (
        "import sys; from springtide.cli.main import main; main(['validate', 'examples/chat.yaml']); "
        "main(['explain', 'examples/chat.yaml']); sys.exit(bool({'kubernetes', 'aiohttp', 'kopf'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", text], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_a_timezone_that_there_is_not_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = {"name": "office", "start": "08:00", "end": "18:00", "minReplicas": 2}
    good, bad = at | {"timezone": "Europe/Berlin"}, at | {"name": "shop", "timezone": "Europe/Atlantis"}
    code, lines = validated(tmp_path, as_yaml("chat", scaling={"schedules": [good, bad]}), capsys)
    assert code == 1
    assert [line for line in lines if "Europe/Atlantis" in line and "schedules[1].timezone" in line], lines
    assert not [line for line in lines if "Berlin" in line]
