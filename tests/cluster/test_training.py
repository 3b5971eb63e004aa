"""The chart's nightly Job and what comes of it, in the images and on the volumes that it has in a cluster."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hack.cluster import prometheus
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.demo import install, manifests
from hack.demo.install import SYSTEM
from hack.images import catalog
from hack.shell import Failure
from springtide.forecast.checkpoint import load_checkpoint, pretrained
from springtide.forecast.horizon import DAY

from .support import eventually, get, upgrade

FORECASTER = "springtide-forecaster"
WORKLOAD = f"deployment/{FORECASTER}"
PRETRAINED = "springtide_forecaster_pretrained"
DAYS, SERVICES = 4, 12


def history(end: int) -> Iterator[str]:
    """Yield days as OpenMetrics, a value a minute: services that rise and fall every twelve minutes.

    They are more than those of the demo, whose last minutes nothing can be learned of and count as much.
    """
    yield "# TYPE springtide:requests:rate1m gauge"
    for number in range(SERVICES):
        labels = f'namespace="demo",service="past-{number}",pool="cpu",pod="history",source="pod"'
        for minute in range(end - DAYS * DAY, end):
            rate = 20 + 15 * math.sin(2 * math.pi * minute / 12)
            yield f"springtide:requests:rate1m{{{labels}}} {rate:.4f} {60 * minute}"
    yield "# EOF"


@pytest.fixture(scope="module")
def kept(demo: Spec, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Have the forecaster keep what it learns, in a folder, and Prometheus have a past with something to learn."""
    folder = tmp_path_factory.mktemp("forecaster")
    claims = [
        *manifests.packages(demo, SYSTEM, catalog.packages()),
        manifests.claim(demo, SYSTEM, FORECASTER, folder, "ReadWriteOnce")[0],  # the chart makes the claim itself
    ]
    objects = yaml.safe_dump_all(claims)
    prometheus.fill(prometheus.home(demo), history(int(time.time()) // 60))
    read = 'count_over_time(springtide:requests:rate1m{service="past-0",pod="history"}[2d])'
    eventually(lambda: bool(prometheus.query(demo, read)), "Prometheus to read its past", 90)
    kubectl(demo, "apply", "--server-side", "--filename=-", stdin=objects)
    try:
        upgrade(demo, "forecaster.persistence.enabled=true")
        yield folder
    finally:
        install.operator(demo)
        kubectl(demo, "delete", "--filename=-", "--wait=false", "--ignore-not-found", stdin=objects)


def nodes(spec: Spec, name: str) -> list[str]:
    """Return the nodes of the pods with a name of an application."""
    found = get(spec, "pods", labels=f"app.kubernetes.io/name={name}", namespace=SYSTEM)
    return [pod["spec"]["nodeName"] for pod in found if "deletionTimestamp" not in pod["metadata"]]


def log(spec: Spec, workload: str) -> list[str]:
    """Return the messages of a workload's log, each line of which is one JSON object."""
    lines = kubectl(spec, "logs", workload, f"--namespace={SYSTEM}").splitlines()
    return [json.loads(line)["message"] for line in lines]


def metric(spec: Spec, name: str) -> float:
    """Return a metric of the forecaster that has no labels; NaN while it doesn't answer."""
    path = f"/api/v1/namespaces/{SYSTEM}/services/{FORECASTER}-metrics:http-metrics/proxy/metrics"
    try:
        rows = [line.split() for line in kubectl(spec, "get", "--raw", path).splitlines()]
    except Failure:
        return math.nan
    return next((float(row[1]) for row in rows if row[0] == name), math.nan)


def has_ended(spec: Spec, job: str) -> bool:
    conditions = get(spec, "job", job, namespace=SYSTEM)["status"].get("conditions", ())
    return any(one["type"] in {"Complete", "Failed"} and one["status"] == "True" for one in conditions)


def test_the_nightly_job_trains_what_the_forecaster_then_uses(demo: Spec, kept: Path) -> None:
    eventually(lambda: metric(demo, PRETRAINED) == 1, "the forecaster to begin with what ships")
    name = "training-now"
    kubectl(demo, "create", "job", name, f"--from=cronjob/{FORECASTER}-training", f"--namespace={SYSTEM}")
    eventually(lambda: has_ended(demo, name), "the training to end", 300)
    said = log(demo, f"job/{name}")
    assert get(demo, "job", name, namespace=SYSTEM)["status"].get("succeeded") == 1, said
    assert nodes(demo, "springtide-training") == nodes(demo, FORECASTER), "the claim is for one node"
    minutes, services = map(int, re.findall(r"learning from (\d+) minutes of (\d+) of", said[0])[0])
    assert minutes >= SERVICES * DAYS * DAY and services >= SERVICES
    word = r"(promoted|refused), loss [\d.]+ against [\d.]+ of the present one"
    assert re.fullmatch(f"network: {word}", said[1]) and re.fullmatch(f"ridge: {word}", said[2])
    assert said[1].startswith("network: promoted"), "the one that ships has never seen such a day"

    file = kept / "checkpoint.npz"
    assert said[3] == f"/var/lib/springtide/{file.name} is written"
    assert not (load_checkpoint(file.read_bytes()).network.output == pretrained().network.output).all()
    eventually(lambda: metric(demo, PRETRAINED) == 0, "the forecaster to use it", 120)
    assert f"forecasts come from the checkpoint /var/lib/springtide/{file.name}" in log(demo, WORKLOAD)

    kubectl(demo, "rollout", "restart", WORKLOAD, f"--namespace={SYSTEM}")
    wait = ("status", WORKLOAD, f"--namespace={SYSTEM}", "--timeout=90s", "--request-timeout=100s")
    kubectl(demo, "rollout", *wait)
    eventually(lambda: metric(demo, PRETRAINED) == 0, "the restarted one to use it")
    assert re.search(r"the state of [1-9]\d* services is restored", "\n".join(log(demo, WORKLOAD)))
