"""The engine for encoders and any other callable from rows of tokens to bytes: rows of all requests, in batches."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from springtide_server.engine.batching import Limits, Policy, Run
from springtide_server.engine.engine import Loader, QueueEngine, QueueSettings
from springtide_server.engine.memory import Memory, is_out_of_memory, measured
from springtide_server.engine.queue import Row
from springtide_server.engine.work import Embed, Job, Vectors
from springtide_server.errors import RequestError, internal_error
from springtide_server.metrics import Metrics
from springtide_server.policy import RuntimePolicy

# What is measured before the first request, rows by tokens: both lines of the cost model then have two points.
CALIBRATION = ((1, 16), (8, 16), (1, 128), (4, 128))
CALIBRATION_SECONDS = 2.0

log = logging.getLogger(__name__)


class BatchModel(Protocol):
    """What this engine runs."""

    context_length: int
    packs: bool
    """Whether rows are computed without padding."""

    @property
    def device(self) -> object:
        """Where it runs, a torch.device."""
        ...

    def __call__(self, rows: Sequence[Sequence[int]]) -> list[bytes]:
        """One result for each row, in their order. Called by one thread; may be called again with fewer rows."""
        ...


class BatchEngine(QueueEngine[BatchModel]):
    """Forms batches as `batching` decides, and splits those that fail, so that what is at fault fails alone."""

    def __init__(
        self,
        name: str,
        load: Loader[BatchModel],
        settings: QueueSettings,
        limits: Limits,
        metrics: Metrics,
        memory: Callable[[object], Memory] = lambda device: measured(device, 90),
    ) -> None:
        super().__init__(name, load, settings, metrics)
        self._policy = Policy(limits)
        self._memory_of = memory
        self._memory_percent: int | None = None  # once a policy says it
        metrics.batch_row_limit.set(limits.rows)
        metrics.batch_token_limit.set_function(lambda: self._policy.token_limit)

    def apply(self, policy: RuntimePolicy) -> None:
        """The next batch has the new limits."""
        with self._changed:
            seconds = policy.max_queue_delay_milliseconds / 1000
            self._policy.limits = replace(self._policy.limits, rows=policy.max_batch_size, delay=seconds)
            self._memory_percent = policy.target_memory_percent
            super().apply(policy)
        self._metrics.batch_row_limit.set(policy.max_batch_size)

    def _prepare(self, model: BatchModel) -> None:
        self._memory = self._memory_of(model.device)
        self._policy.packs = model.packs
        start = time.monotonic()
        with self._phase("calibration"):
            for rows, tokens in CALIBRATION:
                tokens = min(tokens, model.context_length)
                if rows > self._policy.limits.rows or time.monotonic() - start > CALIBRATION_SECONDS:
                    continue
                try:
                    self._compute(model, [[0] * tokens] * rows)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    self._policy.ran_out_of_memory(rows * tokens)
        if (available := self._memory.available()) <= 0:
            fields = {"available_bytes": int(available)}
            log.warning("no memory is left for batches: rows run one by one", extra={"fields": fields})

    def _arrived(self, job: Job) -> None:
        self._policy.arrivals.observe(job.arrival)

    def _serve(self, model: BatchModel) -> None:
        while True:
            rows = self._next()
            start = time.monotonic()
            self._run(model, rows)
            with self._changed:
                self._admission.ends(time.monotonic() - start)

    def _next(self) -> list[Row[Job]]:
        """The next batch, once it is time."""
        self.pulse.rest()
        while True:
            self._expire()
            if self._memory_percent is not None:
                self._memory.percent = self._memory_percent
            available = self._memory.available()
            self._metrics.batch_memory_available.set(max(0.0, available))
            with self._changed:
                now = time.monotonic()
                decision = self._policy.decide(self._queue, now, available)
                if isinstance(decision, Run):
                    rows = decision.rows
                    fresh = {row.entry: None for row in rows if not row.entry.begun}
                    self._queue.take(rows)
                    lengths = [row.length for row in rows]
                    takes = self._policy.costs.seconds(self._policy.computed(lengths), max(lengths))
                    self._admission.begins(rows, now + takes)
                    break
                self._changed.wait(None if decision is None else max(0.0, decision.until - now))
        self._waited(fresh)
        return rows

    def _run(self, model: BatchModel, rows: list[Row[Job]]) -> None:
        """Answer the rows; a batch that fails is split until only the rows at fault fail."""
        rows = [row for row in rows if not row.entry.cancelled]
        if not rows:
            return
        try:
            self._answer(rows, self._compute(model, [_tokens(row) for row in rows]))
            return
        except Exception as error:
            refusal = self._failed(rows, error)
        # Not inside `except`: the error holds the frames, and those the tensors, of what was tried.
        if len(rows) == 1:
            self._fail(rows[0].entry, refusal)
            return
        rows.sort(key=lambda row: row.length)
        half = len(rows) // 2
        self._run(model, rows[:half])
        self._run(model, rows[half:])

    def _compute(self, model: BatchModel, inputs: list[Sequence[int]]) -> list[bytes]:
        """The model's results; learns what they cost."""
        self.pulse.beat()
        self._memory.begin()
        start = time.monotonic()
        results = model(inputs)
        seconds = time.monotonic() - start
        if len(results) != len(inputs):
            raise ValueError(f"the model gave {len(results)} results for {len(inputs)} rows")
        lengths = [len(row) for row in inputs]
        metrics, tokens, computed = self._metrics, sum(lengths), self._policy.computed(lengths)
        with self._changed:
            self._policy.ran(computed, max(lengths), seconds, self._memory.peak())
        metrics.batch_rows.observe(len(inputs))
        metrics.batch_fill.observe(len(inputs) / self._policy.limits.rows)
        metrics.batch_seconds.observe(seconds)
        metrics.batch_padding.observe(1 - tokens / computed if computed else 0)
        return results

    def _failed(self, rows: list[Row[Job]], error: Exception) -> RequestError:
        """Note it; gives the answer for a row that failed alone."""
        tokens = self._policy.computed([row.length for row in rows])
        if not is_out_of_memory(error):
            if len(rows) == 1:
                log.error("a row failed in the engine", exc_info=error)
            else:
                log.warning("a batch failed and is split", extra={"fields": {"rows": len(rows)}})
            return internal_error()
        with self._changed:
            self._policy.ran_out_of_memory(tokens)
        fields = {"rows": len(rows), "tokens": tokens, "token_limit": int(self._policy.token_limit)}
        log.warning("memory ran out in a batch", extra={"fields": fields})
        self._memory.give_back()
        if len(rows) == 1:
            return self._refusal("out_of_memory", rows[0].entry)
        self._metrics.oom_retries.inc()
        return internal_error()

    def _answer(self, rows: list[Row[Job]], results: list[bytes]) -> None:
        answers: dict[Job, dict[int, bytes]] = {}
        for row, result in zip(rows, results, strict=True):
            answers.setdefault(row.entry, {})[row.number] = result
        for job, vectors in answers.items():
            job.emit(Vectors(vectors))
            job.unanswered -= len(vectors)
            if not job.unanswered:
                job.finish()

    def _fail(self, job: Job, refusal: RequestError) -> None:
        """One row of it can't be answered, so the request can't."""
        job.fail(refusal)
        with self._changed:
            self._queue.remove(job)


def _tokens(row: Row[Job]) -> Sequence[int]:
    request = row.entry.request
    if not isinstance(request, Embed):
        raise TypeError(f"{type(request).__name__} is not for this engine")
    return request.inputs[row.number]
