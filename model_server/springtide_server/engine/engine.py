"""What the HTTP side knows of an engine, and what all engines share: the load, the queue and its refusals."""

import asyncio
import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from springtide_server.engine.admission import Admission
from springtide_server.engine.queue import PriorityQueue, Refused
from springtide_server.engine.work import Job, Request, Terms
from springtide_server.errors import ModelError, RequestError
from springtide_server.metrics import Metrics
from springtide_server.precision import Outcome, PrecisionPolicy
from springtide_server.priorities import DEFAULTS, PriorityClass
from springtide_server.protocol import Task

if TYPE_CHECKING:
    from springtide_server.engine.tokenizer import Tokenizer

MAX_RETRY_SECONDS = 60
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

    def start(self, on_failure: Callable[[ModelError], None]) -> None:
        """Begin to load and return at once; the engine's thread calls `on_failure` when the model can't be loaded."""
        ...

    @property
    def alive(self) -> bool:
        """Whether the thread runs; once it has died only a new process helps."""
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
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Loader[Any]:
    """Loads the folder when it is called, and only then imports torch; `report` learns its precision."""

    def load_folder(phase: Phase) -> tuple[Any, "Tokenizer"]:
        with phase("import"):
            try:
                from springtide_server.engine.load import load
            except ModuleNotFoundError as error:
                raise ModelError(f"{error.name} is not installed; install springtide-model-server[torch]") from None
        return load(folder, task, precision, phase, report)

    return load_folder


class QueueEngine(ABC, Generic[M]):
    """An Engine with one thread, which loads the model and then does what `_serve` says."""

    tokenizer: "Tokenizer"
    context_length: int

    def __init__(self, name: str, load: Loader[M], settings: QueueSettings, metrics: Metrics) -> None:
        """The name is for messages about the load."""
        self._name, self._load, self._metrics = name, load, metrics
        self.classes = settings.classes
        self._queue: PriorityQueue[Job] = PriorityQueue(settings.classes, settings.places, settings.tokens)
        self._changed = threading.Condition()  # guards the queue and all below
        self._admission = Admission(self._queue, len(settings.classes))
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        self.state: Literal["loading", "ready", "failed"] = "loading"
        for rank, one in enumerate(settings.classes):
            metrics.queue_depth.labels(one.name).set_function(partial(self._queue.depth, rank))
            metrics.queue_wait.labels(one.name)

    def start(self, on_failure: Callable[[ModelError], None]) -> None:
        """Begin to load."""
        self._on_failure = on_failure
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def admit(self, terms: Terms) -> None:
        """Raise if there is no place for even a small request."""
        with self._changed:
            self._check(terms, 1)

    def submit(self, request: Request, terms: Terms) -> Job:
        """Queue the request, in the place of worse ones if it has to be."""
        job = Job(request, terms)
        with self._changed:
            self._check(terms, job.tokens)
            evicted = self._queue.add(job)
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
        try:
            self._admission.check(terms.rank, tokens, terms.deadline, time.monotonic())
        except Refused as refused:
            raise self._refusal(refused.reason, terms.rank) from None

    def _expire(self) -> None:
        """Drop those whose deadline has passed."""
        with self._changed:
            late = self._queue.expire(time.monotonic())
        for job in late:
            self._end(job, "deadline")

    def _end(self, job: Job, reason: str) -> None:
        """Answer a job that waits no more."""
        if not job.cancelled:
            job.fail(self._refusal(reason, job.rank))

    def _waited(self, jobs: Iterable[Job]) -> None:
        """These leave the queue for the model for the first time."""
        now = time.monotonic()
        for job in jobs:
            self._metrics.queue_wait.labels(self.classes[job.rank].name).observe(now - job.arrival)

    def _refusal(self, reason: str, rank: int) -> RequestError:
        """What a refused request is told; counts it. Called with a reason of REFUSALS."""
        self._metrics.rejections.labels(reason, self.classes[rank].name).inc()
        status, code, message = REFUSALS[reason]
        if status != 429:
            return RequestError(status, message, type=TYPES[status], code=code)
        # Not 503: a gateway counts that against the replica, and ejecting one under load moves the load to the others.
        retry = min(MAX_RETRY_SECONDS, max(1, math.ceil(self._admission.wait(rank, time.monotonic()))))
        return RequestError(429, message, type=TYPES[429], code=code, retry_after_seconds=retry)


TYPES = {413: "invalid_request_error", 429: "rate_limit_error", 504: "timeout_error"}
REFUSALS = {
    "queue_full": (429, "queue_full", "The server's queue is full; send the request again later"),
    "shed": (429, "shed", "The server is busy and sheds requests of this priority; send the request again later"),
    "evicted": (429, "evicted", "The request gave its place to one of a better priority; send it again later"),
    "late": (429, "deadline_unreachable", "The answer would come after the request's deadline; send it again later"),
    "deadline": (504, "deadline_exceeded", "The request's deadline passed before it was computed; nothing was done"),
    "out_of_memory": (413, "out_of_memory", "An input did not fit into the server's memory; send a shorter one"),
    "too_large": (413, "request_too_large", "The request has more tokens than the whole queue may hold; split it"),
}
