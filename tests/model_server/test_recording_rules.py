"""The chart's recording rules read metrics, labels and routes that this server has."""

import re

import yaml

from springtide_server.metrics import Metrics
from springtide_server.oip_routes import MODEL
from tests.unit.samples import ROOT

RULES = ROOT / "charts/springtide/files/signals.rules.yaml"
# What Prometheus adds to the name of a counter or of a histogram.
SUFFIX = re.compile("_(total|bucket)$")


def selectors() -> list[tuple[str, str]]:
    text = "".join(rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"])
    return re.findall(r"\b(springtide_\w+)\{([^}]*)\}", text)


def test_metrics_and_labels() -> None:
    metrics = Metrics()
    metrics.requests.labels("/v1/embeddings", "200").inc()
    metrics.request_seconds.labels("/v1/embeddings").observe(1.0)
    metrics.queue_depth.labels("standard").set(0)
    labels = {
        SUFFIX.sub("", sample.name): set(sample.labels)
        for family in metrics.registry.collect()
        for sample in family.samples
    }
    assert len({name for name, _ in selectors()}) >= 7
    for name, matchers in selectors():
        used = set(re.findall(r"(\w+)\s*(?:=|!~)", matchers)) - {"job"}
        assert used <= labels[SUFFIX.sub("", name)], name
    assert {"vllm:kv_cache_usage_perc"} <= labels.keys()


def test_routes() -> None:
    (pattern,) = {match for _, matchers in selectors() for match in re.findall('route=~"([^"]*)"', matchers)}
    infer = f"{MODEL.replace(':path', '')}/infer"
    for route in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", infer):
        assert re.fullmatch(pattern, route), route
    for route in ("/metrics", "/readyz", "/v1/models", "/v2/health/ready", "other"):
        assert not re.fullmatch(pattern, route), route
