"""Prometheus' own tool judges the rules, and computes them over series with known results."""

import subprocess
from pathlib import Path

import pytest
import yaml

from hack.cluster.prometheus import PACKAGES, chart_files
from hack.packages import need
from tests.unit.samples import ROOT


@pytest.fixture(scope="module", autouse=True)
def _promtool() -> None:
    need(*PACKAGES)


def promtool(*arguments: object) -> str:
    words = ["promtool", *map(str, arguments)]
    done = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_well_formed() -> None:
    rules = ROOT / "charts/springtide/files/signals.rules.yaml"
    count = sum(len(group["rules"]) for group in yaml.safe_load(rules.read_text())["groups"])
    assert f"{count} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", rules)


def test_the_rules_compute_what_they_say() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules.test.yaml")


def test_the_scrape_configuration_is_well_formed(tmp_path: Path) -> None:
    config = yaml.safe_load(chart_files()["signals.scrape.yaml"])
    for scrape in config["scrape_configs"]:
        del scrape["kubernetes_sd_configs"]  # Debian's Prometheus is built without it
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    promtool("check", "config", "--syntax-only", "--lint=all", "--lint-fatal", tmp_path / "prometheus.yml")
