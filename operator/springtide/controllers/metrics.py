"""What the operator tells Prometheus about itself."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram

from springtide.api.errors import SpringtideError
from springtide.controllers.cache import Cache, Name
from springtide.controllers.listing import WATCHED
from springtide.controllers.program_metrics import ProgramMetrics
from springtide.controllers.queue import WorkQueue

_QUEUE = "modelservice"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)


class Metrics(ProgramMetrics):
    """The metrics of one operator. Observes its work queue."""

    def __init__(self) -> None:
        super().__init__()
        self._queue_metrics()
        self._reconciles = self._counter(
            "springtide_reconcile_total",
            "Reconciles that ended, by result: success or error. A conflict or a route that does not answer yet is an "
            "error too; both are tried again.",
            "result",
        )
        for result in ("success", "error"):  # A rate needs the zero that comes before the first error.
            self._reconciles.labels(result)
        self._errors = self._counter(
            "springtide_reconcile_errors_total", "Reconciles that ended with an error, by its reason.", "reason"
        )
        self._durations = self._histogram("springtide_reconcile_duration_seconds", "How long a reconcile takes.")
        self.spec_to_applied = self._histogram(
            "springtide_spec_to_applied_seconds",
            "From the moment the operator first saw a new metadata.generation of a ModelService until a reconcile had "
            "applied all of its children without error; what is asked and written for the status afterwards does not "
            "count. Generations that one reconcile applies count as one, from the first of them. A generation that "
            "the status tells was acted on before, as after a restart, does not count.",
        )

    def read_queue(self, queue: WorkQueue[Name]) -> None:
        """Show the state of a queue whenever the metrics are read."""
        self._queue_gauge("workqueue_depth", "Keys that wait for a worker.", lambda: len(queue))
        self._queue_gauge(
            "workqueue_unfinished_work_seconds",
            "For how long the keys that are in work now have been in work, added up. It grows where a worker is stuck.",
            queue.unfinished_work,
        )
        self._queue_gauge(
            "workqueue_longest_running_processor_seconds",
            "For how long the slowest worker has had its key.",
            queue.longest_work,
        )

    def read_cache(self, cache: Cache) -> None:
        """Show the size of a cache whenever the metrics are read."""
        objects = Gauge("springtide_cached_objects", "Objects in the cache.", ["kind"], registry=self.registry)
        for kind in WATCHED:
            objects.labels(kind.kind).set_function(cache.store(kind).__len__)

    def read_leadership(self, name: str, leads: Callable[[], bool]) -> None:
        """Show whether this operator leads whenever the metrics are read; `name` is the Lease's."""
        text = "1 while this operator leads, 0 while it stands by; only with leader election."
        status = Gauge("leader_election_master_status", text, ["name"], registry=self.registry)
        status.labels(name).set_function(leads)

    def added(self) -> None:
        """Count a key that came into the queue."""
        self._adds.inc()

    def taken(self, waited: float) -> None:
        """Count a key that a worker took."""
        self._waits.observe(waited)

    def finished(self, worked: float) -> None:
        """Count a key that a worker gave back."""
        self._works.observe(worked)

    def retried(self) -> None:
        """Count a key that comes again because it failed."""
        self._retries.inc()

    def reconciled(self, seconds: float, error: SpringtideError | None) -> None:
        """Count a reconcile."""
        self._durations.observe(seconds)
        self._reconciles.labels("error" if error else "success").inc()
        if error:
            self._errors.labels(error.reason).inc()

    def _queue_metrics(self) -> None:
        self._adds = self._counter("workqueue_adds_total", "Keys that came into the queue.", "name").labels(_QUEUE)
        self._retries = self._counter(
            "workqueue_retries_total", "Keys that were to come again because they failed.", "name"
        ).labels(_QUEUE)
        self._waits = self._histogram(
            "workqueue_queue_duration_seconds", "How long a key waits in the queue.", "name"
        ).labels(_QUEUE)
        self._works = self._histogram("workqueue_work_duration_seconds", "How long a worker has a key.", "name").labels(
            _QUEUE
        )

    def _queue_gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        Gauge(name, text, ["name"], registry=self.registry).labels(_QUEUE).set_function(read)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=_BUCKETS)
