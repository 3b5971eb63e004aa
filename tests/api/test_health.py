"""What GitOps tools make of a ModelService: Flux by kstatus' own library, Argo CD by our script in its interpreter."""

import json
from typing import Any

import pytest
import yaml

from hack.cluster.tools import program
from hack.shell import run
from tests.api.situations import SITUATIONS, Situation
from tests.unit.samples import ROOT

SCRIPT = ROOT / "charts/springtide/files/argocd-health.lua"
OBJECTS = "\n".join(json.dumps(one.live) for one in SITUATIONS)
CASES = [pytest.param(one, id=one.name) for one in SITUATIONS]


@pytest.fixture(scope="module")
def kstatus() -> dict[str, Any]:
    answers = run(program("kstatus"), stdin=OBJECTS).splitlines()
    return {one.name: json.loads(answer) for one, answer in zip(SITUATIONS, answers, strict=True)}


@pytest.fixture(scope="module")
def argo() -> dict[str, Any]:
    answers = run(program("lua"), SCRIPT, stdin=OBJECTS).splitlines()
    return {one.name: json.loads(answer) for one, answer in zip(SITUATIONS, answers, strict=True)}


@pytest.mark.parametrize("situation", CASES)
def test_kstatus(situation: Situation, kstatus: dict[str, Any]) -> None:
    said = kstatus[situation.name]
    assert said["status"] == situation.kstatus, said
    assert situation.hint in said["message"]


@pytest.mark.parametrize("situation", CASES)
def test_argocd(situation: Situation, argo: dict[str, Any]) -> None:
    said = argo[situation.name]
    assert said["status"] == situation.argo, said
    assert said["message"]
    assert situation.hint in said["message"]


def test_the_chart_brings_the_script_as_argocd_reads_it() -> None:
    words = (ROOT / "charts/springtide", "--set=argocd.healthCheck.enabled=true", "--show-only=templates/argocd.yaml")
    made = yaml.safe_load(run(program("helm"), "template", "springtide", *words))
    assert made["data"] == {"resource.customizations.health.springtide.dev_ModelService": SCRIPT.read_text()}


def test_the_chart_brings_no_script_unasked() -> None:
    assert "argocd" not in run(program("helm"), "template", "springtide", ROOT / "charts/springtide")
