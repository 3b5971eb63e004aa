"""Embedding texts, the way sentence-transformers does with the same folder."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from springtide_server.engine.work import Embed, Vectors

# A padded batch at most; bounds its memory and the time until a cancelled request lets go.
BATCH_ROWS = 64
BATCH_TOKENS = 8192

Pooling = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(hidden states [rows, tokens, size], mask [rows, tokens]) → [rows, size]."""


def mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The average over the tokens, padding left out."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def first(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The first token, which BERT calls CLS."""
    return hidden[:, 0]


def last(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The last token that isn't padding."""
    return hidden[torch.arange(len(hidden)), mask.sum(1) - 1]


POOLINGS: dict[str, Pooling] = {"mean": mean, "cls": first, "lasttoken": last}


class Embedder:
    """An encoder with its pooling."""

    def __init__(self, model: Any, pooling: Pooling, normalize: bool, padding_token: int, context_length: int) -> None:
        self._model = model
        self._pooling = pooling
        self._normalize = normalize
        self._padding_token = padding_token
        self.context_length = context_length

    def run(self, request: Embed) -> Iterator[Vectors]:
        """The vectors, a batch at a time; the caller may stop asking earlier."""
        for indices in batches([len(tokens) for tokens in request.inputs]):
            rows = self._embed([request.inputs[index] for index in indices])
            yield Vectors(dict(zip(indices, rows, strict=True)))

    @torch.inference_mode()
    def _embed(self, inputs: Sequence[Sequence[int]]) -> list[bytes]:
        longest = max(map(len, inputs))
        ids = [[*tokens, *[self._padding_token] * (longest - len(tokens))] for tokens in inputs]
        mask = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs]
        device = self._model.device
        mask_tensor = torch.tensor(mask, device=device)
        hidden = self._model(input_ids=torch.tensor(ids, device=device), attention_mask=mask_tensor).last_hidden_state
        vectors = self._pooling(hidden, mask_tensor).float()
        if self._normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return [row.tobytes() for row in vectors.cpu().numpy().astype("<f4")]


def batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices in batches of similar length, so that little is padded; one that is too long alone still gets its own."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In ascending order, so the newcomer is the longest and sets the padded length.
        if batch and (len(batch) == BATCH_ROWS or (len(batch) + 1) * lengths[index] > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
