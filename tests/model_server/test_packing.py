"""Rows side by side give what padded rows give, and models for which they don't are padded."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, DebertaV2Config, MPNetConfig, Qwen3Config, RobertaConfig

from springtide_server.engine.embed import POOLINGS, Embedder

SMALL = {
    "vocab_size": 300,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 130,
    "pad_token_id": 1,
}
ROWS = [[random.Random(n).randrange(2, 300) for _ in range(n)] for n in (7, 1, 30, 7, 120, 7, 30, 2)]  # noqa: S311


def embedder(kind: type, pooling: str = "mean", **changes: Any) -> Embedder:
    torch.manual_seed(1)
    model: Any = AutoModel.from_config(kind(**{**SMALL, **changes}))  # type: ignore[no-untyped-call]
    for one in model.parameters():
        one.data.mul_(3)
    return Embedder(model.eval(), POOLINGS[pooling], False, 1, 120)


def vectors(one: Embedder) -> Any:
    return np.array([np.frombuffer(row, "<f4") for row in one(ROWS)])


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(
    ("kind", "changes"),
    [(BertConfig, {}), (RobertaConfig, {}), (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 12})],
)
def test_packed_rows_give_what_padded_ones_give(kind: type, changes: dict[str, Any], pooling: str) -> None:
    padded, packed = embedder(kind, pooling, **changes), embedder(kind, pooling, **changes)
    packed.pack()
    assert packed.packs and not padded.packs
    assert np.abs(vectors(packed) - vectors(padded)).max() < 1e-4 * np.abs(vectors(padded)).max()


@pytest.mark.parametrize("kind", [MPNetConfig, DebertaV2Config])
def test_other_kinds_of_attention_are_padded(kind: type) -> None:
    one = embedder(kind)
    before = vectors(one)
    one.pack()
    assert not one.packs
    assert (vectors(one) == before).all()
