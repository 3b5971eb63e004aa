"""The engine of this first version: one thread, one request at a time."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from springtide_server.engine.queue import JobQueue, QueueFull
from springtide_server.engine.work import Delta, Job, Request
from springtide_server.errors import ModelError, RequestError, internal_error
from springtide_server.metrics import Metrics
from springtide_server.protocol import Task

if TYPE_CHECKING:
    from springtide_server.engine.embed import Embedder
    from springtide_server.engine.generate import Generator
    from springtide_server.engine.tokenizer import Tokenizer

log = logging.getLogger(__name__)


class SerialEngine:
    """Loads the model and runs requests in the order in which they came.

    `start` returns at once. `tokenizer` and `context_length` (tokens) may be used while `state` is "ready".
    """

    tokenizer: "Tokenizer"
    context_length: int

    def __init__(self, folder: Path, task: Task, dtype: str, places: int, metrics: Metrics) -> None:
        self._folder, self._task, self._dtype, self._metrics = folder, task, dtype, metrics
        self._queue = JobQueue(places)
        self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
        self.state: Literal["loading", "ready", "failed"] = "loading"
        metrics.queue_depth.set_function(lambda: len(self._queue))

    def start(self, on_failure: Callable[[ModelError], None]) -> None:
        """Begin to load; `on_failure` is called by the engine's thread when the model can't be loaded."""
        self._on_failure = on_failure
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread runs; once it has died only a new process helps."""
        return self._thread.is_alive()

    def admit(self) -> None:
        """Raise the refusal that `submit` would, without the work that comes before it."""
        if self._queue.full:
            raise _queue_full()

    def submit(self, request: Request) -> Job:
        """Queue the request; raises RequestError (429) when the queue is full."""
        job = Job(request)
        try:
            self._queue.put(job)
        except QueueFull:
            raise _queue_full() from None
        return job

    def cancel(self, job: Job) -> None:
        """Nobody waits for the job any more: it leaves the queue now, or the model after its present step."""
        job.cancelled = True
        self._queue.remove(job)

    def _live(self) -> None:
        try:
            model = self._load()
        except ModelError as error:
            self.state = "failed"
            self._on_failure(error)
            return
        except Exception as error:
            log.exception("the model could not be loaded")
            self.state = "failed"
            reason = " ".join(str(error).split()) or type(error).__name__
            self._on_failure(ModelError(f"{self._folder} can't be loaded: {reason}"))
            return
        self.state = "ready"
        while True:
            self._run(model, self._queue.take())

    def _load(self) -> "Generator | Embedder":
        with self._phase("import"):
            try:
                from springtide_server.engine.load import load
            except ModuleNotFoundError as error:
                raise ModelError(f"{error.name} is not installed; install springtide-model-server[torch]") from None
        model, self.tokenizer = load(self._folder, self._task, self._dtype, self._phase)
        self.context_length = model.context_length
        return model

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        seconds = time.monotonic() - start
        self._metrics.model_load.labels(name).set(seconds)
        log.info("loaded", extra={"fields": {"phase": name, "seconds": round(seconds, 3)}})

    def _run(self, model: "Generator | Embedder", job: Job) -> None:
        self._metrics.queue_wait.observe(time.monotonic() - job.created)
        clock = _TokenClock(self._metrics, job.created)
        try:
            for result in model.run(job.request):  # type: ignore[arg-type]  # the HTTP side asks for the task's kind
                if job.cancelled:
                    break
                if isinstance(result, Delta):
                    clock.tick(result.tokens)
                job.emit(result)
            job.finish()
        except Exception:
            # One request must not end the engine.
            log.exception("a request failed in the engine")
            job.fail(internal_error())


def _queue_full() -> RequestError:
    # Never 503: a gateway counts that against the replica, and ejecting one under load moves the load to the others.
    message = "The server's queue is full; send the request again later"
    return RequestError(429, message, type="rate_limit_error", code="queue_full", retry_after_seconds=1)


class _TokenClock:
    """Observes the time to the first token and between the others."""

    def __init__(self, metrics: Metrics, created: float) -> None:
        self._metrics, self._last, self._tokens = metrics, created, 0

    def tick(self, tokens: int) -> None:
        """There are now so many tokens."""
        if tokens == self._tokens:
            return
        now = time.monotonic()
        histogram = self._metrics.inter_token_latency if self._tokens else self._metrics.time_to_first_token
        histogram.observe(now - self._last)
        self._metrics.generation_tokens.inc(tokens - self._tokens)
        self._last, self._tokens = now, tokens
