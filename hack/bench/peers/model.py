"""The one model of all peers: all-MiniLM-L6-v2 as its users run it, float32, mean pooling, normalised.

Texts become tokens inside the batch and not where requests come in. On few cores the work is the same in either place;
in the batch it is one call for all rows, which is the cheapest for every peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from hack.bench.peers.settings import Settings


class Encoder:
    """Texts to vectors, padded to the longest of the batch."""

    def __init__(self, settings: Settings) -> None:
        torch.set_num_threads(settings.threads)
        self._tokenizer = Tokenizer.from_file(str(Path(settings.model, "tokenizer.json")))
        self._tokenizer.no_truncation()
        self._tokenizer.enable_padding()
        self._model = AutoModel.from_pretrained(settings.model, dtype=torch.float32).eval()

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[tuple[list[float], int]]:
        """Return a vector and the number of tokens for each text."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded])
        mask = torch.tensor([one.attention_mask for one in encoded])
        hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        vectors = torch.nn.functional.normalize((hidden * weights).sum(1) / weights.sum(1), dim=1)
        return list(zip(vectors.tolist(), mask.sum(1).tolist(), strict=True))


def answer(vector: list[float], tokens: int) -> dict[str, Any]:
    """Return OpenAI's answer for one text."""
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": [embedding(vector)], "model": "minilm", "usage": usage}


def embedding(vector: list[float]) -> dict[str, Any]:
    """Return the part of the answer that holds the vector."""
    return {"object": "embedding", "index": 0, "embedding": vector}
