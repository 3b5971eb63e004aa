"""Embedding texts, the way sentence-transformers does with the same folder."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

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

    def __init__(
        self,
        model: Any,
        pooling: Pooling,
        normalize: bool,
        padding_token: int,
        context_length: int,
        precision: str = "",
    ) -> None:
        self._model = model
        self._pooling = pooling
        self._normalize = normalize
        self._padding_token = padding_token
        self.context_length, self.precision = context_length, precision

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        device: torch.device = self._model.device
        return device

    @torch.inference_mode()
    def __call__(self, inputs: Sequence[Sequence[int]]) -> list[bytes]:
        """A vector for each row of tokens, padded to the longest and computed together: float32, little endian."""
        longest = max(map(len, inputs))
        ids = [[*tokens, *[self._padding_token] * (longest - len(tokens))] for tokens in inputs]
        mask = [[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in inputs]
        device = self.device
        mask_tensor = torch.tensor(mask, device=device)
        hidden = self._model(input_ids=torch.tensor(ids, device=device), attention_mask=mask_tensor).last_hidden_state
        vectors = self._pooling(hidden, mask_tensor).float()
        if self._normalize:
            vectors = torch.nn.functional.normalize(vectors, dim=1)
        return [row.tobytes() for row in vectors.cpu().numpy().astype("<f4")]
