"""What the operator tells Prometheus of scaling: the newest decision of each service that scales."""

from collections.abc import Iterator
from math import isfinite

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from springtide.controllers.sensing import Sensing

_SERVICE = ("namespace", "service")


class ScalingCollector:
    """Reads the decisions whenever the metrics are read, so a service that is gone leaves nothing behind."""

    def __init__(self, sensing: Sensing, registry: CollectorRegistry) -> None:
        self._sensing = sensing
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        target = _gauge("target_replicas", "The replicas that a pool should have.", "pool")
        wanted = _gauge("wanted_replicas", "The replicas that a pool would have with mode Auto.", "pool")
        shortage = _gauge("shortage_requests_per_second", "What is needed beyond all limits.")
        reason = _gauge("reason", "Always 1; why the targets are as they are.", "reason")
        inputs = _gauge("input", "What the newest decision was made from; rates are requests a second.", "input")
        for name, decision in self._sensing.decisions.items():
            for pool, replicas in decision.targets.items():
                target.add_metric([*name, pool], replicas)
            for pool, replicas in decision.wanted.items():
                wanted.add_metric([*name, pool], replicas)
            shortage.add_metric(name, decision.shortage)
            reason.add_metric([*name, decision.reason], 1)
            for key, value in decision.inputs.items():
                if isfinite(value):
                    inputs.add_metric([*name, key], value)
        yield from (target, wanted, shortage, reason, inputs)
        if self._sensing.asks:
            up = GaugeMetricFamily("springtide_prometheus_up", "Whether Prometheus answered the last questions.")
            up.add_metric([], self._sensing.failure is None)
            yield up
            errors = "Rounds of questions that ended by an error of the operator's own."
            yield CounterMetricFamily("springtide_sensing_errors", errors, self._sensing.errors)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"springtide_scaling_{name}", text, labels=[*_SERVICE, *labels])
