"""The engine for generating text: one request at a time."""

import logging
import time
from collections.abc import Iterator
from typing import Protocol

from springtide_server.engine.engine import QueueEngine
from springtide_server.engine.work import Delta, Generate, Job
from springtide_server.errors import internal_error
from springtide_server.metrics import Metrics

log = logging.getLogger(__name__)


class SerialModel(Protocol):
    """What this engine runs."""

    context_length: int

    def run(self, request: Generate) -> Iterator[Delta]:
        """The answer as it grows; the caller may stop asking earlier."""
        ...


class SerialEngine(QueueEngine[SerialModel]):
    """Runs the requests one by one, in the queue's order."""

    def _serve(self, model: SerialModel) -> None:
        while True:
            self._run(model, self._next())

    def _next(self) -> Job:
        """The next job; blocks until there is one."""
        self.pulse.rest()
        while True:
            self._expire()
            with self._changed:
                rows = self._queue.pick(1, lambda row, must: True)
                if rows:
                    self._queue.take(rows)
                    job = rows[0].entry
                    self._admission.begins(rows, time.monotonic())
                    break
                self._changed.wait()
        self._waited([job])
        return job

    def _run(self, model: SerialModel, job: Job) -> None:
        clock = _TokenClock(self._metrics, job.arrival)
        start = time.monotonic()
        try:
            if not isinstance(job.request, Generate):
                raise TypeError(f"{type(job.request).__name__} is not for this engine")
            for delta in model.run(job.request):
                self.pulse.beat()
                if job.cancelled:
                    break
                clock.tick(delta.tokens)
                job.emit(delta)
            job.finish()
        except Exception:
            # One request must not end the engine.
            log.exception("a request failed in the engine")
            job.fail(internal_error())
        with self._changed:
            self._admission.ends(time.monotonic() - start)


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
