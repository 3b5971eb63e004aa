"""What the forecaster tells Prometheus about itself."""

from typing import Literal, get_args

from prometheus_client import Counter, Gauge, Histogram

from springtide.controllers.program_metrics import ProgramMetrics
from springtide.signals.answers import FaultName

Fault = Literal[
    FaultName,
    "Empty",
    "ClockJump",
    "CorruptState",
    "CorruptCheckpoint",
    "NotSaved",
    "NotListed",
    "NotWritten",
    "Taken",
    "InternalError",
]
"""What can be wrong; docs/forecast.md says what each does."""

_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50)


class Metrics(ProgramMetrics):
    """The metrics of one forecaster."""

    def __init__(self) -> None:
        super().__init__()
        registry = self.registry
        self._faults = Counter(
            "springtide_forecaster_faults_total", "What went wrong, by fault.", ["fault"], registry=registry
        )
        for fault in get_args(Fault):  # A rate needs the zero that comes before the first one.
            self._faults.labels(fault)
        self.observed = Gauge(
            "springtide_forecaster_observed_timestamp_seconds",
            "End of the newest minute whose demand was asked and answered, in unix seconds.",
            registry=registry,
        )
        self.services = Gauge(
            "springtide_forecaster_services", "Services of which some demand is known.", registry=registry
        )
        self.written = Counter(
            "springtide_forecaster_written_total", "TrafficForecasts that were written.", registry=registry
        )
        self.seconds = Histogram(
            "springtide_forecaster_compute_seconds",
            "How long it takes to learn from a minute and to forecast all services.",
            registry=registry,
            buckets=_BUCKETS,
        )
        self.pretrained = Gauge(
            "springtide_forecaster_pretrained",
            "1 while forecasts come from the checkpoint that ships, 0 while they come from a trained one.",
            registry=registry,
        )

    def failed(self, fault: Fault) -> None:
        """Count a fault."""
        self._faults.labels(fault).inc()
