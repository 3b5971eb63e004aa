"""What each of our programs tells Prometheus about itself, whatever it does."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from springtide import VERSION


class ProgramMetrics:
    """The metrics of one program, in a registry of their own."""

    def __init__(self) -> None:
        # The time at which each counter was made doubles the number of series and tells nobody anything.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "springtide_api_requests_total",
            "Requests to the API server by verb (get, list, apply, delete, patch_status; create and update for Leases "
            "and Events), kind and HTTP status; the code is <error> where no answer came. Each page of a list is a "
            "request; watches are not counted.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        build = Gauge(
            "springtide_build_info", "Always 1; the version of Springtide.", ["version"], registry=self.registry
        )
        build.labels(VERSION).set(1)

    def requested(self, verb: str, kind: str, code: str) -> None:
        """Count a request to the API server."""
        self._requests.labels(verb, kind, code).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
