"""A real Prometheus scrapes real model servers, with the chart's own rules and relabelling."""

from __future__ import annotations

import pytest

from hack.cluster import prometheus
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.load import Background, Options

from .support import NAMESPACE, eventually, scale, service_address, serving_pods

pytestmark = pytest.mark.usefixtures("examples")

NAME = "embed"
SECONDS = 120  # two scrapes for a rate, an evaluation, and what a busy machine takes


def scraped(spec: Spec) -> set[str]:
    """Return the pods of a ModelService that Prometheus scrapes with success."""
    rows = prometheus.query(
        spec, f'springtide:scraped:timestamp{{namespace="{NAMESPACE}",service="{NAME}"}} > time() - 30'
    )
    return {row["metric"]["pod"] for row in rows}


def names(spec: Spec) -> set[str]:
    return {pod["metadata"]["name"] for pod in serving_pods(spec, NAME)}


def test_requests_through_a_service_are_counted_for_it(demo: Spec) -> None:
    (pod,) = names(demo)
    series = f'springtide:requests:rate1m{{namespace="{NAMESPACE}",service="{NAME}"}}'
    target = f"http://{service_address(demo, NAME)}"
    with Background(Options((target,), kind="embeddings", model=NAME, rate=4, seconds=SECONDS)) as load:
        eventually(lambda: bool(prometheus.query(demo, f"{series} > 2")), "Prometheus to see the load", SECONDS)
        (row,) = prometheus.query(demo, series)
        report = load.finish()
    of_it = {"namespace": NAMESPACE, "service": NAME, "pool": "cpu", "pod": pod, "source": "pod"}
    assert row["metric"] == {"__name__": "springtide:requests:rate1m"} | of_it
    assert float(row["value"][1]) < 8, "each request counts once"
    assert report["requests"]["failed"] == 0, report["details"]


def test_pods_are_scraped_for_as_long_as_they_are_there(demo: Spec) -> None:
    scale(demo, NAME, 2)
    eventually(lambda: len(scraped(demo)) == 2 and scraped(demo) == names(demo), "both pods to be scraped", SECONDS)
    scale(demo, NAME, 1)
    eventually(lambda: scraped(demo) == names(demo) and len(names(demo)) == 1, "one to be forgotten", SECONDS)


def test_a_pod_reaches_prometheus(demo: Spec) -> None:
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).status)"
    words = ("exec", f"deployment/{NAME}-cpu", f"--namespace={NAMESPACE}", "--", "python3", "-c", fetch)
    assert kubectl(demo, *words, f"{prometheus.url(demo)}/-/ready").strip() == "200"
