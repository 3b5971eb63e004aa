"""Greedy answers of SmolLM2 in float32, many at once, beside transformers' own generate."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from springtide_server.engine.tokenizer import Tokenizer
from tests.model_server.process import ServerProcess

NEW = 12
CLOSE = 1e-3
"""Between the reference's two best logits: there rounding decides, and either token is right."""
BEGINNINGS = [
    "The capital of France is", "Water boils at", "Once upon a time", "def add(a, b):", "The largest planet is",
    "To bake bread you need", "In 1969", "A triangle has", "The sun rises in", "My favourite colour is",
    "The opposite of hot is", "Shakespeare wrote", "The speed of light", "Cats are", "A good teacher",
    "The Great Wall", "Photosynthesis is", "import os", "Dear Sir or Madam,", "The recipe says",
    "E = mc^2 means", "Roses are red,", "Monday, Tuesday,", "1, 2, 3, 4,", "The moral of the story",
]  # fmt: skip
PROMPTS = [*BEGINNINGS, *(f"{text} {BEGINNINGS[-place]}" for place, text in enumerate(BEGINNINGS, 1))]


def reference(model: Any, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False, pad_token_id=0)
    return [int(token) for token in out[0, len(prompt) :]]


def test_fifty_prompts_are_answered_as_transformers_does(smollm2: Path) -> None:
    tokenizer = Tokenizer(smollm2)
    prompts = tokenizer.encode(PROMPTS)
    assert len(prompts) == 50
    with ServerProcess(smollm2, "smol", "Generate", "--kv-cache-mebibytes", "512") as server:
        server.wait_ready()
        body: dict[str, Any] = {"prompt": prompts, "max_tokens": NEW, "temperature": 0}
        choices = server.post("/v1/completions", ignore_eos=True, logprobs=0, **body).json()["choices"]
    model: Any = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    model.eval()
    model.generation_config.eos_token_id = None
    differing = []
    for prompt, choice in zip(prompts, choices, strict=True):
        wanted = [tokenizer.piece(token) for token in reference(model, prompt)]
        found = choice["logprobs"]["tokens"]
        if found != wanted:
            place = next(place for place, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
            tokens = prompt + reference(model, prompt)[:place]
            first, second = model(torch.tensor([tokens])).logits[0, -1].topk(2).values.tolist()
            differing.append((tokenizer.decode(prompt), place, found[place], wanted[place], first - second))
    print("where rounding decided:", differing)
    assert all(gap < CLOSE for *_, gap in differing), differing
