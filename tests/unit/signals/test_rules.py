"""The recording rules and scrape configurations of the chart agree with what is read, and with each other."""

import json
import re
from typing import Any

import pytest
import yaml

from springtide.signals.records import RECORDS
from tests.unit.samples import ROOT
from tests.unit.test_chart import render

RULES = ROOT / "charts/springtide/files/signals.rules.yaml"
CONFIG = "ConfigMap/springtide-operator-signals"
MODEL_SERVERS, GATEWAYS = "springtide-model-servers", "springtide-gateways"


@pytest.fixture(scope="module")
def chart() -> dict[str, Any]:
    every = [f'metrics.{name}={{"enabled": true}}' for name in ("configMap", "prometheusRule", "podMonitor")]
    return render(*every)


@pytest.fixture(scope="module")
def scrapes(chart: dict[str, Any]) -> dict[str, Any]:
    found = yaml.safe_load(chart[CONFIG]["data"]["signals.scrape.yaml"])["scrape_configs"]
    return {one["job_name"]: one for one in found}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_every_series_that_is_read_is_recorded() -> None:
    assert {rule["record"] for rule in rules()} == set(RECORDS.values())
    by_pod = [rule for rule in rules() if rule["labels"]["source"] == "pod"]
    assert sorted(rule["labels"].get("resource", "") for rule in by_pod if rule["record"] == RECORDS["use"]) == [
        "gpu",
        "kv",
    ]
    assert {rule["record"] for rule in by_pod} == set(RECORDS.values())


def test_whose_metrics_count_is_chosen_by_the_scrape() -> None:
    for rule in rules():
        job = MODEL_SERVERS if rule["labels"]["source"] == "pod" else GATEWAYS
        selectors = re.findall(r"([a-zA-Z_:]+)\{([^}]*)\}", rule["expr"])
        assert selectors
        for name, matchers in selectors:
            if name in RECORDS.values():
                assert matchers == 'source="pod"'
            elif name == "DCGM_FI_DEV_GPU_UTIL":
                assert 'job=~"(.+/)?(nvidia-)?dcgm-exporter"' in matchers
            else:
                assert f'job="{job}"' in matchers, rule["record"]


def test_nothing_is_made_unless_asked_for() -> None:
    made = render()
    assert not [
        name for name in made if name.endswith("-signals") or name.startswith(("PrometheusRule/", "PodMonitor/"))
    ]


def test_the_rules_are_the_same_everywhere(chart: dict[str, Any]) -> None:
    assert yaml.safe_load(chart[CONFIG]["data"]["signals.rules.yaml"]) == yaml.safe_load(RULES.read_text())
    assert chart["PrometheusRule/springtide-operator-signals"]["spec"] == yaml.safe_load(RULES.read_text())


def test_labels_for_the_prometheus_operator() -> None:
    labels = json.dumps({"release": "prometheus", "app.kubernetes.io/name": "mine"})
    settings = [f'metrics.{name}={{"enabled": true, "labels": {labels}}}' for name in ("prometheusRule", "podMonitor")]
    made = render(*settings)
    for name in ("PrometheusRule/springtide-operator-signals", "PodMonitor/springtide-operator-signals"):
        assert made[name]["metadata"]["labels"]["release"] == "prometheus"
        assert made[name]["metadata"]["labels"]["app.kubernetes.io/name"] == "springtide-operator"


def snake(name: str) -> str:
    return re.sub("[A-Z]", lambda match: f"_{match[0].lower()}", name)


@pytest.mark.parametrize(
    ("monitor", "job"),
    [
        ("PodMonitor/springtide-operator-signals", MODEL_SERVERS),
        ("PodMonitor/springtide-operator-signals-gateways", GATEWAYS),
    ],
)
def test_both_ways_to_scrape_say_the_same(
    chart: dict[str, Any], scrapes: dict[str, Any], monitor: str, job: str
) -> None:
    (endpoint,) = chart[monitor]["spec"]["podMetricsEndpoints"]
    plain = scrapes[job]
    assert endpoint["honorLabels"] is plain["honor_labels"] is False
    assert endpoint["interval"] == plain["scrape_interval"] == "10s"
    assert endpoint["path"] == plain.get("metrics_path", "/metrics")
    for camel, own in (("relabelings", "relabel_configs"), ("metricRelabelings", "metric_relabel_configs")):
        converted = [{snake(key): value for key, value in one.items()} for one in endpoint.get(camel, ())]
        assert converted == plain.get(own, [])
    assert {"target_label": "job", "replacement": job} in plain["relabel_configs"]


def test_whose_pods_are_scraped(chart: dict[str, Any], scrapes: dict[str, Any]) -> None:
    assert "namespaces" not in scrapes[MODEL_SERVERS]["kubernetes_sd_configs"][0]
    assert chart["PodMonitor/springtide-operator-signals"]["spec"]["namespaceSelector"] == {"any": True}
    assert scrapes[GATEWAYS]["kubernetes_sd_configs"][0]["namespaces"] == {"names": ["envoy-gateway-system"]}
    few = render(
        'namespaces=["team-a"]',
        'metrics.gatewayNamespaces=["infra"]',
        'metrics.configMap={"enabled": true}',
        'metrics.podMonitor={"enabled": true}',
        'metrics.scrapeInterval="5s"',
    )
    found = yaml.safe_load(few[CONFIG]["data"]["signals.scrape.yaml"])["scrape_configs"]
    assert [one["kubernetes_sd_configs"][0]["namespaces"]["names"] for one in found] == [["team-a"], ["infra"]]
    assert [one["scrape_interval"] for one in found] == ["5s", "5s"]
    monitors = [one["spec"]["namespaceSelector"] for name, one in few.items() if name.startswith("PodMonitor/")]
    assert monitors == [{"matchNames": ["team-a"]}, {"matchNames": ["infra"]}]
