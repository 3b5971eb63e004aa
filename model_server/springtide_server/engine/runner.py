"""A language model over a paged KV cache: computes the steps that the scheduler plans."""

import logging
from collections.abc import Callable
from collections.abc import Sequence as Several
from itertools import accumulate
from typing import Any

import torch

from springtide_server.engine import attention, sampling
from springtide_server.engine.attention import Paged, Part, Prompts
from springtide_server.engine.blocks import BlockPool, Copy
from springtide_server.engine.fuse import fused
from springtide_server.engine.graphs import DecodeGraphs
from springtide_server.engine.kv import KVCache
from springtide_server.engine.scheduler import StepLimits
from springtide_server.engine.sequence import Chosen, Sequence

log = logging.getLogger(__name__)


class Runner:
    """Computes steps, and chooses tokens. Called by one thread."""

    def __init__(
        self,
        model: Any,
        cache: KVCache,
        pool: BlockPool,
        limits: StepLimits,
        context_length: int,
        end_tokens: frozenset[int],
    ) -> None:
        """The model is a causal language model of transformers, set to our attention; the pool is the cache's."""
        self._model, self._cache = model, cache
        self.pool, self.limits = pool, limits
        self.context_length, self.end_tokens = context_length, end_tokens
        self.precision = ""
        self.overlaps = model.device.type == "cuda"
        self._graphs: DecodeGraphs | None = None
        cache.bind(model)
        self._sampler = sampling.Sampler(model.device)

    def record(self) -> None:
        """Make graphs of the steps that only write, on a GPU, of fused operators if they can be compiled."""
        if not self.overlaps or attention.decode_kernel() is None:
            return
        try:
            with fused(self._model):
                self._graphs = self._recorded()
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            log.warning("operators can't be fused: is gcc installed?", extra={"fields": {"reason": reason}})
            self._graphs = self._recorded()
        log.info("graphs recorded", extra={"fields": {"batches": self._graphs.sizes}})

    @torch.inference_mode()
    def _recorded(self) -> DecodeGraphs:
        width = self.pool.blocks(self.context_length)
        return DecodeGraphs(self._forward, self._cache, self.limits.sequences, width)

    @torch.inference_mode()
    def launch(self, sequences: Several[Sequence], copies: Several[Copy]) -> Callable[[], list[Chosen]]:
        """Begin a step; what is returned waits for its end. On a CPU all is done there."""
        for copy in copies:
            self._cache.move(copy)
        if not self.overlaps:
            return lambda: self._choose(sequences, self.logits(sequences))()
        return self._choose(sequences, self.logits(sequences))

    def forget(self, sequence: Sequence) -> None:
        """The sequence is at its end."""
        self._sampler.forget(sequence)

    @torch.inference_mode()
    def logits(self, sequences: Several[Sequence]) -> torch.Tensor:
        """Compute a step; the logits [sequences that complete, vocabulary], float32."""
        ids: list[int] = []
        positions: list[int] = []
        slots: list[int] = []
        size = self._cache.size
        for one in sequences:
            start, end = one.computed, one.computed + one.scheduled
            ids += one.tokens[start:end]
            positions += range(start, end)
            slots += [one.blocks[place // size] * size + place % size for place in range(start, end)]
        writers = [one for one in sequences if one.scheduled == 1]
        if self._graphs is not None and len(writers) == len(sequences) and all(one.completes for one in writers):
            return self._graphs(ids, positions, slots, [one.blocks for one in writers]).float()
        paged = self._paged(slots, writers, sequences[len(writers) :])
        ends: list[int] = []
        place = 0
        for one in sequences:
            place += one.scheduled
            if one.completes:
                ends.append(place - 1)
        return self._forward(self._tensor([ids]), self._tensor([positions]), paged, self._tensor(ends)).float()

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, paged: Paged, keep: torch.Tensor | int = 0
    ) -> torch.Tensor:
        """Logits of the tokens to keep (0: all), [tokens, vocabulary]."""
        output = self._model(input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=keep, paged=paged)
        return output.logits[0]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def _choose(self, sequences: Several[Sequence], logits: torch.Tensor) -> Callable[[], list[Chosen]]:
        """Choose the tokens; what is returned waits for them."""
        completing = [one for one in sequences if one.completes]
        if not completing:
            return list
        tokens = self._sampler(logits, completing)

        def wait() -> list[Chosen]:
            told = sampling.logprobs(logits, tokens, completing)
            return [Chosen(*one) for one in zip(completing, tokens.tolist(), told, strict=True)]

        return wait

    def _paged(self, slots: list[int], writers: Several[Sequence], readers: Several[Sequence]) -> Paged:
        width = max((len(one.blocks) for one in writers), default=0)
        tables = self._tensor([one.blocks + [0] * (width - len(one.blocks)) for one in writers], torch.int32)
        lengths = self._tensor([one.computed + 1 for one in writers])
        parts: list[Part] = []
        prompts = None
        if readers and attention.has_varlen(self._model.device, self._model.dtype):
            prompts = self._prompts(readers)
        else:
            start = len(writers)
            for one in readers:
                parts.append(self._part(one, start))
                start += one.scheduled
        return Paged(self._tensor(slots), tables, lengths, self._cache.size, parts, prompts)

    def _part(self, one: Sequence, start: int) -> Part:
        slots = self._slots(one)
        places = torch.arange(len(slots), device=self._model.device)
        return Part(start, start + one.scheduled, slots, places <= places[one.computed :, None])

    def _prompts(self, readers: Several[Sequence]) -> Prompts:
        tokens = [one.scheduled for one in readers]
        reach = [one.computed + one.scheduled for one in readers]
        starts, slot_starts = (self._tensor([0, *accumulate(counts)], torch.int32) for counts in (tokens, reach))
        slots = torch.cat([self._slots(one) for one in readers])
        return Prompts(slots, starts, slot_starts, max(tokens), max(reach))

    def _slots(self, one: Sequence) -> torch.Tensor:
        """Of all its tokens up to the end of the step."""
        offsets = torch.arange(self._cache.size, device=self._model.device)
        slots = self._tensor(one.blocks)[:, None] * self._cache.size + offsets
        return slots.flatten()[: one.computed + one.scheduled]

    def _tensor(self, values: Any, dtype: torch.dtype = torch.long) -> torch.Tensor:
        return torch.tensor(values, device=self._model.device, dtype=dtype)
