"""The engine for generating text: many sequences at once, a token of each at every step (continuous batching)."""

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Several
from dataclasses import dataclass
from typing import Protocol

from springtide_server.engine.blocks import BlockPool, Copy
from springtide_server.engine.engine import Loader, QueueEngine, QueueSettings
from springtide_server.engine.memory import is_out_of_memory
from springtide_server.engine.queue import Row
from springtide_server.engine.scheduler import Scheduler, StepLimits
from springtide_server.engine.sequence import Answer, Chosen, Sequence
from springtide_server.engine.work import Job, Result, hand_over
from springtide_server.errors import RequestError, internal_error
from springtide_server.metrics import Metrics
from springtide_server.policy import RuntimePolicy

log = logging.getLogger(__name__)


class GenerateModel(Protocol):
    """What this engine runs: a language model with a KV cache of blocks."""

    context_length: int
    end_tokens: frozenset[int]
    pool: BlockPool
    limits: StepLimits
    overlaps: bool
    """Whether a step computes beside Python, as on a GPU."""

    def launch(self, sequences: Several[Sequence], copies: Several[Copy]) -> Callable[[], Several[Chosen]]:
        """Begin a step; what is returned waits for its end and gives the tokens of the sequences that completed."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """The sequence is at its end."""
        ...


@dataclass
class _Writing:
    """What the reader of a sequence has had."""

    answer: Answer
    last: float
    tokens: int = 0


class GenerateEngine(QueueEngine[GenerateModel]):
    """Computes step after step as the scheduler plans them."""

    def __init__(self, name: str, load: Loader[GenerateModel], settings: QueueSettings, metrics: Metrics) -> None:
        super().__init__(name, load, settings, metrics)
        self._writing: dict[Sequence, _Writing] = {}
        self._undelivered: Several[Chosen] = ()
        self._ended_at = 0.0  # the last sequence, or when work began
        self._pool: BlockPool | None = None
        self._allowed: int | None = None  # sequences at once, once a policy says it

    def apply(self, policy: RuntimePolicy) -> None:
        """The next step has the new limit."""
        with self._changed:
            self._allowed = policy.max_batch_size
            super().apply(policy)
            if self._pool is not None:
                self._share_prefixes(self._pool)

    def _share_prefixes(self, pool: BlockPool) -> None:
        pool.share = self._shares and "PrefixCache" not in self.features_off

    def utilization(self) -> dict[str, float]:
        """Those of the queue and of the KV cache."""
        return {**super().utilization(), "kv_cache": self._pool.usage if self._pool else 0.0}

    def _prepare(self, model: GenerateModel) -> None:
        self._limits, self._most = model.limits, model.limits.sequences
        scheduler = self._scheduler = Scheduler(self._queue, model.pool, model.limits)
        metrics, pool = self._metrics, model.pool
        self._pool, self._shares = pool, pool.share
        with self._changed:
            self._share_prefixes(pool)
        metrics.kv_tokens.set(model.pool.count * model.pool.size)
        metrics.requests_running.set_function(lambda: len(scheduler.running))
        metrics.requests_waiting.set_function(lambda: len(self._queue) + len(scheduler.preempted))
        metrics.kv_usage.set_function(lambda: pool.usage)

    def _serve(self, model: GenerateModel) -> None:
        while True:
            step = self._plan(model)
            pool = model.pool
            copies, pool.copies = pool.copies, []
            self._compute(model, step, copies)
            if not model.overlaps:
                self._deliver(model)

    def _plan(self, model: GenerateModel) -> list[Sequence]:
        """The next step; blocks until there is something to do."""
        scheduler = self._scheduler
        while True:
            self._expire()
            for one in [one for one in self._writing if one.job.cancelled]:
                self._forget(model, one)
            with self._changed:
                self._limits.sequences = min(self._most, self._allowed or self._most)
                counts = scheduler.counts
                step = scheduler.plan()
                if step:
                    break
            if self._undelivered:
                self._deliver(model)
                continue
            with self._changed:
                if not len(self._queue):
                    self._ended_at = 0.0
                    self.pulse.rest()
                    self._changed.wait()
        for counter, before, after in zip(self._metrics.scheduled, counts, scheduler.counts, strict=True):
            counter.inc(after - before)
        fresh = [one for one in step if one not in self._writing]
        for one in fresh:
            answer = Answer(one.request, self.tokenizer.decode, model.end_tokens)
            self._writing[one] = _Writing(answer, one.job.arrival)
        self._waited([one.job for one in fresh])
        self._ended_at = self._ended_at or time.monotonic()
        return step

    def _compute(self, model: GenerateModel, step: list[Sequence], copies: Several[Copy]) -> None:
        """Run the step; one that fails is split until only the sequence at fault fails."""
        self.pulse.beat()
        start = time.monotonic()
        try:
            wait = model.launch(step, copies)
            self._deliver(model)  # what the step before gave, while this one computes
            tokens = wait()
        except Exception as error:
            if is_fatal(error):
                for one in list(self._writing):
                    one.job.fail(internal_error())
                raise
            refusal = self._failed(step, error)
        else:
            self._metrics.step_seconds.observe(time.monotonic() - start)
            self._advance(model, step, tokens)
            return
        # Not inside `except`: the error holds the frames, and those the tensors, of what was tried.
        if len(step) > 1:
            half = len(step) // 2
            self._compute(model, step[:half], ())
            self._compute(model, step[half:], ())
            return
        (one,) = step
        if refusal is None and one.scheduled > 1:
            one.scheduled //= 2
            self._compute(model, step, ())
            return
        with self._changed:
            self._scheduler.finish(one)
        self._forget(model, one)
        one.job.fail(refusal or self._refusal("out_of_memory", one.job))

    def _failed(self, step: list[Sequence], error: Exception) -> RequestError | None:
        """Note it; gives the answer for a sequence that failed alone, None where memory ran out."""
        if not is_out_of_memory(error):
            if len(step) == 1:
                log.error("a sequence failed in the engine", exc_info=error)
            else:
                log.warning("a step failed and is split", extra={"fields": {"sequences": len(step)}})
            return internal_error()
        tokens = sum(one.scheduled for one in step)
        self._limits.tokens = max(1, min(self._limits.tokens, tokens // 2))
        self._metrics.oom_retries.inc()
        fields = {"sequences": len(step), "tokens": tokens, "token_limit": self._limits.tokens}
        log.warning("memory ran out in a step", extra={"fields": fields})
        return None

    def _advance(self, model: GenerateModel, step: list[Sequence], tokens: Several[Chosen]) -> None:
        """Note what the step computed; who has all its tokens leaves."""
        with self._changed:
            for one in step:
                self._scheduler.computed(one)
            for token in tokens:
                one = token.sequence
                one.tokens.append(token.token)
                if one.generated >= one.request.max_tokens or one.request.ends_at(token.token, model.end_tokens):
                    self._scheduler.finish(one)
        self._undelivered = [*self._undelivered, *tokens]

    def _deliver(self, model: GenerateModel) -> None:
        """Turn the tokens of the last step into text, and hand it to the readers."""
        tokens, self._undelivered = self._undelivered, ()
        items: list[tuple[Job, Several[Result | None]]] = []
        now = time.monotonic()
        for token in tokens:
            one = token.sequence
            writing = self._writing.get(one)
            if writing is None:  # it ended at a stop string, or its reader has left
                continue
            try:
                delta = writing.answer.push(token.token, token.logprob)
            except Exception:  # it must not end the others, nor count as a fault of the next step
                log.exception("a token could not be turned into text")
                one.job.fail(internal_error())
                continue
            if delta.tokens > writing.tokens:
                self._clock(writing, now)
            last = delta.finish_reason is not None
            items.append((one.job, [delta, None] if last else [delta]))
            if last:
                self._leave(model, one, now)
        hand_over(items)

    def _leave(self, model: GenerateModel, one: Sequence, now: float) -> None:
        self._forget(model, one)
        with self._changed:
            self._scheduler.finish(one)  # at a stop string it is still there
            self._admission.begins([Row(one.job, 0)], now)
            self._admission.ends(now - self._ended_at)
        self._ended_at = now

    def _forget(self, model: GenerateModel, one: Sequence) -> None:
        self._writing.pop(one, None)
        model.forget(one)

    def _clock(self, writing: _Writing, now: float) -> None:
        metrics = self._metrics
        (metrics.inter_token_latency if writing.tokens else metrics.time_to_first_token).observe(now - writing.last)
        metrics.generation_tokens.inc()
        writing.tokens, writing.last = writing.tokens + 1, now


def is_fatal(error: BaseException) -> bool:
    """Whether the device can't be used any more, and only a new process helps."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return not is_out_of_memory(error) and ("AcceleratorError" in names or "CUDA error" in str(error))
