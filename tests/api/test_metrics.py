"""What a running operator tells Prometheus."""

from hack.cluster.tools import program
from hack.shell import run
from tests.api.support import Api, Operator, eventually


def value(operator: Operator, name: str, /, **labels: str) -> float:
    return operator.metrics().get((name, frozenset(labels.items())), 0.0)


def test_a_change_is_counted_until_it_is_applied(api: Api, operator: Operator) -> None:
    before = value(operator, "springtide_reconcile_total", result="success")
    api.create("counted")
    eventually(lambda: api.condition("counted", "Accepted"))
    eventually(lambda: value(operator, "springtide_reconcile_total", result="success") > before)
    eventually(lambda: value(operator, "springtide_spec_to_applied_seconds_count") == 1)
    api.edit("counted", {"replicas": 2})
    eventually(lambda: value(operator, "springtide_spec_to_applied_seconds_count") == 2)
    applied = {"verb": "apply", "kind": "Deployment"}
    assert value(operator, "springtide_api_requests_total", **applied, code="201") == 1
    assert value(operator, "springtide_api_requests_total", **applied, code="200") == 1
    assert value(operator, "springtide_cached_objects", kind="ModelService") == 1
    assert value(operator, "workqueue_adds_total", name="modelservice") >= 2
    assert value(operator, "workqueue_queue_duration_seconds_count", name="modelservice") >= 2


def test_metrics_about_the_process(operator: Operator) -> None:
    assert value(operator, "process_resident_memory_bytes") > 0


def test_prometheus_finds_nothing_wrong(operator: Operator) -> None:
    assert run(program("promlint"), stdin=operator.scrape()) == ""
