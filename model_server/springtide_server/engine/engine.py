"""What the HTTP side knows of an engine, and what all engines share: the load and the queue."""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar
from weakref import WeakSet

from springtide_server.engine.admission import Admission
from springtide_server.engine.pulse import Pulse
from springtide_server.engine.queue import PriorityQueue, Refused
from springtide_server.engine.refusals import refusal
from springtide_server.engine.settings import GenerateSettings
from springtide_server.engine.work import Job, Request, Terms
from springtide_server.errors import ModelError, RequestError
from springtide_server.metrics import Metrics
from springtide_server.policy import Feature, RuntimePolicy
from springtide_server.precision import Outcome, PrecisionPolicy
from springtide_server.priorities import DEFAULTS, PriorityClass, place_of
from springtide_server.protocol import Task

if TYPE_CHECKING:
    from springtide_server.engine.tokenizer import Tokenizer

Phase = Callable[[str], AbstractContextManager[None]]
M = TypeVar("M")
Loader = Callable[[Phase], tuple[M, "Tokenizer"]]
log = logging.getLogger(__name__)


class Engine(Protocol):
    """Runs requests. `tokenizer` and `context_length` (tokens) may be used while `state` is "ready"."""

    tokenizer: "Tokenizer"
    context_length: int
    state: Literal["loading", "ready", "failed"]
    classes: Sequence[PriorityClass]
    max_output_tokens: int | None
    features_off: frozenset[Feature]

    def apply(self, policy: RuntimePolicy) -> None:
        """Act by the policy from now on, whatever the state. Called on the event loop."""
        ...

    precision: str
    """Of the numbers that it computes with: results of another precision are others."""
    pulse: Pulse

    def start(self, on_failure: Callable[[ModelError], None]) -> None:
        """Begin to load and return at once; the engine's thread calls `on_failure` when the model can't be loaded."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the thread runs; once it has died only a new process helps."""
        ...

    def utilization(self) -> dict[str, float]:
        """How full what bounds the engine is, each from 0 to 1, by its name."""
        ...

    def admit(self, terms: Terms) -> None:
        """Raise the refusal that `submit` would certainly raise, without the work that comes before it."""
        ...

    def submit(self, request: Request, terms: Terms) -> Job:
        """Queue the request; raises RequestError: 429, or 413 when it could never wait here."""
        ...

    def cancel(self, job: Job) -> None:
        """Nobody waits for the job any more: it leaves the queue now, or the model after its present step."""
        ...


@dataclass(frozen=True)
class QueueSettings:
    """Who may wait: at most `places` requests with `tokens` tokens in all."""

    classes: Sequence[PriorityClass] = DEFAULTS
    places: int = 256
    tokens: int = 1 << 20


def loader(
    folder: Path,
    task: Task,
    precision: PrecisionPolicy = PrecisionPolicy(),  # noqa: B008  # frozen
    generate: GenerateSettings = GenerateSettings(),  # noqa: B008
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Loader[Any]:
    """Loads the folder when it is called, and only then imports torch; `report` learns its precision."""

    def load_folder(phase: Phase) -> tuple[Any, "Tokenizer"]:
        with phase("import"):
            try:
                from springtide_server.engine.load import load
            except ModuleNotFoundError as error:
                raise ModelError(f"{error.name} is not installed; install springtide-model-server[torch]") from None
        return load(folder, task, precision, generate, phase, report)

    return load_folder


class QueueEngine(ABC, Generic[M]):
    """An Engine with one thread, which loads the model and then does what `_serve` says."""

    tokenizer: "Tokenizer"
    context_length: int
    precision = ""

    def __init__(self, name: str, load: Loader[M], settings: QueueSettings, metrics: Metrics) -> None:
        """The name is for messages about the load."""
        self._name, self._load, self._metrics = name, load, metrics
        self.classes = settings.classes
        self.max_output_tokens: int | None = None
        self.features_off: frozenset[Feature] = frozenset()
        self._shed_classes: frozenset[str] = frozenset()
        self._jobs: WeakSet[Job] = WeakSet()  # those that run have left the queue
        self._queue: PriorityQueue[Job] = PriorityQueue(settings.classes, settings.places, settings.tokens)
        self._changed = threading.Condition()  # guards the queue and all below
        self._admission = Admission(self._queue, len(settings.classes))
        self.pulse = Pulse()
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        self.state: Literal["loading", "ready", "failed"] = "loading"
        self._show_classes()
        metrics.requests_waiting.set_function(self._queue.__len__)

    def _show_classes(self) -> None:
        for rank, one in enumerate(self.classes):
            self._metrics.queue_depth.labels(one.name).set_function(partial(self._queue.depth, rank))
            self._metrics.queue_wait.labels(one.name)

    def apply(self, policy: RuntimePolicy) -> None:
        """Take over what concerns the queue and its refusals; those of a class that goes are of the default."""
        with self._changed:
            self._shed_classes = policy.shed_classes
            self.max_output_tokens = policy.max_output_tokens
            self.features_off = policy.features_off
            if policy.priorities != self.classes:
                self._reclassify(policy.priorities)
            self._changed.notify()

    def _reclassify(self, classes: Sequence[PriorityClass]) -> None:
        ranks = [place_of(one.name, classes) for one in self.classes]
        running = self._jobs.difference(self._queue)
        self._queue.reclassify(classes, ranks)
        self._admission.reclassify(len(classes), ranks)
        for job in running:
            job.rank = ranks[job.rank]
        self.classes = classes
        self._metrics.queue_depth.clear()
        self._show_classes()

    def start(self, on_failure: Callable[[ModelError], None]) -> None:
        """Begin to load."""
        self._on_failure = on_failure
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def utilization(self) -> dict[str, float]:
        """That of the queue."""
        return {"queue": self._queue.fullness}

    def admit(self, terms: Terms) -> None:
        """Raise if there is no place for even a small request."""
        with self._changed:
            self._check(terms, 1)

    def submit(self, request: Request, terms: Terms) -> Job:
        """Queue the request, in the place of worse ones if it has to be."""
        job = Job(request, terms)
        with self._changed:
            job.rank = self._rank(terms)
            self._check(terms, job.tokens)
            evicted = self._queue.add(job)
            self._jobs.add(job)
            self._arrived(job)
            self._changed.notify()
        for victim in evicted:
            self._end(victim, "evicted")
        if terms.deadline is not None:
            delay = max(0.0, terms.deadline - time.monotonic()) + 0.001  # not a moment too early
            job.timer = asyncio.get_running_loop().call_later(delay, self._expire)
        return job

    def cancel(self, job: Job) -> None:
        """Take the job out of the queue."""
        job.cancelled = True
        if job.timer is not None:
            job.timer.cancel()
        with self._changed:
            self._queue.remove(job)

    @abstractmethod
    def _serve(self, model: M) -> None:
        """Run requests until the process ends."""

    def _prepare(self, model: M) -> None:
        """Called before the model is ready."""

    def _arrived(self, job: Job) -> None:
        """A job came into the queue."""

    def _live(self) -> None:
        try:
            model, self.tokenizer = self._load(self._phase)
            self.context_length = model.context_length  # type: ignore[attr-defined]
            self.precision = getattr(model, "precision", "")
            self._prepare(model)
        except Exception as error:
            if not isinstance(error, ModelError):
                log.exception("the model could not be loaded")
                reason = " ".join(str(error).split()) or type(error).__name__
                error = ModelError(f"{self._name} can't be loaded: {reason}")
            self.state = "failed"
            self._on_failure(error)
            return
        self.state = "ready"
        self._serve(model)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self._metrics.model_load.labels(name).set(seconds)
        log.info("loaded", extra={"fields": {"phase": name, "seconds": round(seconds, 3)}})

    def _check(self, terms: Terms, tokens: int) -> None:
        """Raise the refusal of a request that can't wait, or that would wait for nothing."""
        rank = self._rank(terms)
        if self.classes[rank].name in self._shed_classes:
            raise self._refused("shed_by_policy", rank)
        try:
            self._admission.check(rank, tokens, terms.deadline, time.monotonic())
        except Refused as refused:
            raise self._refused(refused.reason, rank) from None

    def _rank(self, terms: Terms) -> int:
        return terms.rank if terms.priority is None else place_of(terms.priority, self.classes)

    def _expire(self) -> None:
        """Drop those whose deadline has passed."""
        with self._changed:
            late = self._queue.expire(time.monotonic())
        for job in late:
            self._end(job, "deadline")

    def _end(self, job: Job, reason: str) -> None:
        """Answer a job that waits no more."""
        if not job.cancelled:
            job.fail(self._refusal(reason, job))

    def _waited(self, jobs: Iterable[Job]) -> None:
        """These leave the queue for the model for the first time."""
        self.pulse.beat()
        now = time.monotonic()
        with self._changed:
            for job in jobs:
                self._metrics.queue_wait.labels(self.classes[job.rank].name).observe(now - job.arrival)

    def _refusal(self, reason: str, job: Job) -> RequestError:
        """What a job that is given up is told; counts it. Called with a reason of REFUSALS."""
        with self._changed:
            return self._refused(reason, job.rank)

    def _refused(self, reason: str, rank: int) -> RequestError:
        self._metrics.rejections.labels(reason, self.classes[rank].name).inc()
        return refusal(reason, lambda: self._admission.wait(rank, time.monotonic()))
