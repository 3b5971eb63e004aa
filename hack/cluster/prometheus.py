"""A real Prometheus, Debian's, with the recording rules and the scrape configuration that the chart ships.

Debian builds it without kubernetes_sd. So the targets of each job are read from a file, which `discovery` writes in a
cluster, and relabelling is the chart's own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from hack.shell import run

from . import process
from .spec import Spec
from .tools import program

PACKAGES = ("prometheus",)
ROOT = Path(__file__).resolve().parents[2]
RETENTION = "40d"  # a month of history may be filled in


def url(spec: Spec) -> str:
    """Return where the Prometheus of a cluster answers the host, nodes and pods."""
    return f"http://{_address(spec)}"


def home(spec: Spec) -> Path:
    """Return the folder of the Prometheus of a cluster."""
    return spec.home / "prometheus"


def up(spec: Spec) -> None:
    """Start Prometheus and what finds its targets, and wait until it answers."""
    folder = home(spec)
    configure(folder)
    process.start(spec, "prometheus", *command(folder, _address(spec)))
    words = ("-m", "hack.cluster", "discover", "--name", spec.name)
    process.start(spec, "prometheus-discovery", "env", "-C", ROOT, sys.executable, *words)
    daemons = [(spec, "prometheus"), (spec, "prometheus-discovery")]
    process.wait_for(lambda: ready(url(spec)), "Prometheus", 60, daemons)


def chart_files(*settings: str) -> dict[str, str]:
    """Return the files that the chart gives a Prometheus, by name; settings are like `metrics.scrapeInterval=1s`."""
    words = [f"--set={setting}" for setting in ("metrics.configMap.enabled=true", *settings)]
    only = "--show-only=templates/signals.yaml"
    found = run(program("helm"), "template", "springtide", ROOT / "charts/springtide", only, *words)
    data: dict[str, str] = yaml.safe_load(found)["data"]
    return data


def configure(folder: Path, *, every: str | None = None, jobs: tuple[dict[str, Any], ...] = ()) -> None:
    """Write what Prometheus reads into a folder: the chart's files and further scrape jobs, without targets.

    `every` stands for all intervals of the chart, such as 1s for a test.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = chart_files(*([f"metrics.scrapeInterval={every}"] if every else []))
    rules = yaml.safe_load(files["signals.rules.yaml"])
    scrapes = [*yaml.safe_load(files["signals.scrape.yaml"])["scrape_configs"], *jobs]
    for group in rules["groups"]:
        group["interval"] = every or group["interval"]
    wanted = {}
    for scrape in scrapes:
        job = scrape["job_name"]
        wanted[job] = scrape.pop("kubernetes_sd_configs", [])
        set_targets(folder, job, [])
        scrape["file_sd_configs"] = [{"files": [str(_targets(folder, job))], "refresh_interval": every or "10s"}]
    config = {
        "global": {"scrape_interval": every or "10s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": scrapes,
    }
    (folder / "discovery.json").write_text(json.dumps(wanted))
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))


def fill(folder: Path, lines: Iterable[str]) -> None:
    """Give the Prometheus of a folder a past, in the OpenMetrics format.

    One that runs sees it within a minute or so.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".om") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        few = "--max-block-duration=168h"  # blocks of two hours take ten times as long
        run("promtool", "tsdb", "create-blocks-from", "openmetrics", few, file.name, folder / "data")


def forget(spec: Spec, selector: str) -> None:
    """Delete the series that a selector matches from the Prometheus of a cluster."""
    matched = urlencode({"match[]": selector})
    request = urllib.request.Request(f"{url(spec)}/api/v1/admin/tsdb/delete_series?{matched}", method="POST")  # noqa: S310
    urllib.request.urlopen(request, timeout=30).close()  # noqa: S310


def query(spec: Spec, expression: str) -> list[Any]:
    """Return the rows of an instant query to the Prometheus of a cluster."""
    with urllib.request.urlopen(f"{url(spec)}/api/v1/query?{urlencode({'query': expression})}", timeout=10) as answer:  # noqa: S310
        rows: list[Any] = json.load(answer)["data"]["result"]
    return rows


def set_targets(folder: Path, job: str, groups: list[dict[str, Any]]) -> None:
    """Name the targets of a job: groups of {"targets": [address], "labels": {...}}."""
    path = _targets(folder, job)
    path.with_suffix(".new").write_text(json.dumps(groups))
    path.with_suffix(".new").rename(path)


def command(folder: Path, address: str) -> list[str]:
    """Return how Prometheus is started with the configuration and the data of a folder."""
    return [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={address}",
        "--web.enable-admin-api",
        "--log.level=warn",
    ]


def ready(url: str) -> bool:
    """Tell whether a Prometheus answers that it is ready, or that it wants to know who asks."""
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5):  # noqa: S310
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401
    except OSError:
        return False


def _address(spec: Spec) -> str:
    return f"{spec.host_address}:{spec.port(90)}"


def _targets(folder: Path, job: str) -> Path:
    return folder / f"{job}.json"
