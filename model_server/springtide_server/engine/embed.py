"""Embedding texts, the way sentence-transformers does with the same folder."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch

from springtide_server.engine import packing
from springtide_server.engine.attention import has_varlen
from springtide_server.engine.packing import Packed

Pooling = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(hidden states [tokens, size] of rows one after the other, their lengths [rows]) → [rows, size]."""

# How far the vectors of both ways may be apart, in parts of their length: rounding is below, another attention or other
# positions above. Eight bits round too much to tell, so models are tried before they are quantised.
ALIKE = {torch.float32: 1e-2}
ALIKE_HALF = 5e-2
log = logging.getLogger(__name__)


def mean(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The average over each row's tokens."""
    return torch.segment_reduce(hidden, "mean", lengths=lengths)


def first(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The first token, which BERT calls CLS."""
    return hidden[lengths.cumsum(0) - lengths]


def last(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The last token."""
    return hidden[lengths.cumsum(0) - 1]


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": first, "lasttoken": last}


class Embedder:
    """An encoder with its pooling. `packs` says that rows are computed side by side, without padding."""

    def __init__(
        self,
        model: Any,
        pooling: Pooling,
        normalize: bool,
        padding_token: int,
        context_length: int,
    ) -> None:
        self._model = model
        self._pooling = pooling
        self._normalize = normalize
        self._padding_token = padding_token
        self._first_position = 0
        self.context_length, self.precision = context_length, ""
        self.packs = False

    def pack(self) -> None:
        """From now on compute without padding, if this model then gives the same vectors."""
        if self.device.type == "cuda" and not has_varlen(self.device, self._model.dtype):
            return  # a launch for each length takes longer than the padding
        length = self.context_length
        rows = [[2] * max(1, length // part) for part in (2, 4, 3, 3)]  # together longer than the context
        wanted = self._vectors(rows)
        usual = self._model.config._attn_implementation
        try:
            self._model.set_attn_implementation(packing.NAME)
            self.packs = True
            # RoBERTa and its kind count positions from behind the padding token.
            for first in (0, self._padding_token + 1):
                self._first_position = first
                apart = (self._vectors(rows) - wanted).norm(dim=1) / wanted.norm(dim=1)
                if bool((apart <= ALIKE.get(self._model.dtype, ALIKE_HALF)).all()):
                    return
            reason = "the vectors differ"
        except (ValueError, TypeError, AttributeError, RuntimeError, IndexError) as error:
            reason = " ".join(str(error).split())[:300]
        log.info("rows are padded", extra={"fields": {"reason": reason}})
        self.packs = False
        self._model.set_attn_implementation(usual)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self._model.device
        return device

    def __call__(self, inputs: Sequence[Sequence[int]]) -> list[bytes]:
        """A vector for each row of tokens, computed together: float32, little endian."""
        return [row.tobytes() for row in self._vectors(inputs).cpu().numpy().astype("<f4")]

    @torch.inference_mode()
    def _vectors(self, inputs: Sequence[Sequence[int]]) -> torch.Tensor:
        """[rows, size], float32."""
        # By length, so that the attention can take rows of one length together.
        order = sorted(range(len(inputs)), key=lambda number: len(inputs[number]))
        rows = [inputs[number] for number in order]
        hidden = self._packed(rows) if self.packs else self._padded(rows)
        pooled = self._pooling(hidden, torch.tensor([len(row) for row in rows], device=self.device)).float()
        vectors = torch.empty_like(pooled)
        vectors[order] = pooled
        return torch.nn.functional.normalize(vectors, dim=1) if self._normalize else vectors

    def _packed(self, inputs: Sequence[Sequence[int]]) -> torch.Tensor:
        """Hidden states [tokens, size]."""
        lengths = [len(tokens) for tokens in inputs]
        first = self._first_position
        ids = torch.tensor([[token for tokens in inputs for token in tokens]], device=self.device)
        positions = torch.tensor([[first + place for length in lengths for place in range(length)]], device=self.device)
        packed = Packed.of(lengths, self.device, self._model.dtype)
        hidden: torch.Tensor = self._model(input_ids=ids, position_ids=positions, packed=packed).last_hidden_state[0]
        return hidden

    def _padded(self, inputs: Sequence[Sequence[int]]) -> torch.Tensor:
        """Hidden states [tokens, size], those of the padding left out."""
        longest = max(map(len, inputs))
        ids = [[*tokens, *[self._padding_token] * (longest - len(tokens))] for tokens in inputs]
        mask = torch.tensor(
            [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs], device=self.device
        )
        hidden = self._model(input_ids=torch.tensor(ids, device=self.device), attention_mask=mask).last_hidden_state
        kept: torch.Tensor = hidden[mask.bool()]
        return kept
