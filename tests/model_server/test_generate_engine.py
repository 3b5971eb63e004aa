"""The generate engine with a small Llama of random weights, beside what transformers says about the same model."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Several
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config

from springtide_server.engine import attention
from springtide_server.engine.blocks import Copy
from springtide_server.engine.engine import Phase, QueueSettings
from springtide_server.engine.generate import GenerateEngine
from springtide_server.engine.language import build, check
from springtide_server.engine.memory import HostMemory
from springtide_server.engine.sequence import Sequence
from springtide_server.engine.settings import GenerateSettings
from springtide_server.engine.work import Delta, Generate, Job, Terms
from springtide_server.errors import ModelError, RequestError
from springtide_server.metrics import Metrics
from tests.model_server.stand_ins import Letters

SMALL = {
    "vocab_size": 300,
    "hidden_size": 96,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
}


def llama(kind: type = LlamaConfig, **changes: Any) -> Any:
    torch.manual_seed(1)
    config = kind(**{**SMALL, **changes})
    model: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")  # type: ignore[no-untyped-call]
    model.eval()
    model.generation_config.eos_token_id = None
    for one in model.parameters():
        one.data.mul_(4)  # so that the likeliest token is far ahead
    return model


def prompts(count: int, length: int = 20) -> list[list[int]]:
    return [[(17 * number + place * (number + 3)) % 300 for place in range(length + number)] for number in range(count)]


def expected(model: Any, prompt: list[int], new: int) -> list[int]:
    ids = torch.tensor([prompt])
    settings = {"max_new_tokens": new, "do_sample": False, "pad_token_id": 0}
    out = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    return [int(token) for token in out[0, len(prompt) :]]


def assert_same(model: Any, asked: list[list[int]], found: list[list[int]], wanted: list[list[int]]) -> None:
    """The same tokens, but for places where the reference's two best are next to equal: there rounding decides."""
    for prompt, one, other in zip(asked, found, wanted, strict=True):
        if one != other:
            place = next(place for place, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
            logits = model(torch.tensor([prompt + other[:place]]), use_cache=False).logits[0, -1].double()
            first, second = logits.topk(2).values.tolist()
            assert first - second < 1e-3 * max(1.0, float(logits.abs().max())), (one, other)


@contextmanager
def started(
    model: Any, tokens: int = 4096, fault: "Fault | None" = None, **settings: Any
) -> Iterator[tuple[GenerateEngine, Metrics]]:
    """An engine whose KV cache holds so many tokens, and whose steps fail as told."""
    made = GenerateSettings(**{"sequences": 8, "step_tokens": 64, "cache_mebibytes": 1, **settings})

    def load(phase: Phase) -> tuple[Any, Any]:
        runner = build(model, made, 512, frozenset(), HostMemory(90), 300)
        pool = runner.pool
        for block in range(tokens // pool.size, pool.count):
            pool._idle.pop(block)
        pool.count = min(pool.count, tokens // pool.size)
        runner.context_length = min(runner.context_length, pool.count * pool.size)
        return Flawed(runner, fault) if fault else runner, Letters()

    metrics = Metrics()
    engine = GenerateEngine("test", load, QueueSettings(), metrics)
    failures: list[Exception] = []
    engine.start(failures.append)
    while engine.state == "loading":
        pass
    assert not failures, failures
    yield engine, metrics


async def tokens_of(job: Job) -> list[int]:
    return [ord(letter) - 0x100 async for delta in job.results(Delta) for letter in delta.text]


def generate(prompt: list[int], new: int = 12, **changes: Any) -> Generate:
    return Generate(prompt, new, **{"temperature": 0, **changes})


def sample(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


KINDS: dict[str, Callable[[], Any]] = {
    "llama": llama,
    "llama3-rope": lambda: llama(
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 4.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
        }
    ),
    "qwen2": lambda: llama(Qwen2Config),
    "qwen3": lambda: llama(Qwen3Config),
    "mistral": lambda: llama(MistralConfig, sliding_window=None),
    "all-heads": lambda: llama(num_key_value_heads=6),
    "one-head": lambda: llama(num_key_value_heads=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
async def test_many_at_once_get_what_transformers_gives_each(kind: str) -> None:
    model = KINDS[kind]()
    asked = prompts(11)
    wanted = [expected(model, prompt, 12) for prompt in asked]
    with started(model) as (engine, _):
        jobs = [engine.submit(generate(prompt), Terms(1)) for prompt in asked]
        found = await asyncio.gather(*map(tokens_of, jobs))
    assert_same(KINDS[kind](), asked, found, wanted)


async def test_giving_way_changes_no_answer() -> None:
    model = llama()
    asked = prompts(9, 40)
    wanted = [expected(model, prompt, 40) for prompt in asked]
    with started(model, tokens=256, step_tokens=48) as (engine, metrics):
        jobs = [engine.submit(generate(prompt, 40), Terms(rank % 3)) for rank, prompt in enumerate(asked)]
        assert await asyncio.gather(*map(tokens_of, jobs)) == wanted
        assert sample(metrics, "springtide_preemptions_total") > 0
        assert sample(metrics, "vllm:kv_cache_usage_perc") == 0


@pytest.mark.parametrize("host_mebibytes", [0, 1])
async def test_known_beginnings_change_no_answer(host_mebibytes: int) -> None:
    model = llama()
    asked = prompts(6, 90)
    wanted = [expected(model, prompt, 6) for prompt in asked]
    with started(model, tokens=320, host_mebibytes=host_mebibytes) as (engine, metrics):
        for _ in range(3):
            for prompt, want in zip(asked, wanted, strict=True):
                assert await tokens_of(engine.submit(generate(prompt, 6), Terms(1))) == want
        known = sample(metrics, "springtide_prefix_cache_hit_tokens_total")
        read = sample(metrics, "springtide_prefix_cache_query_tokens_total")
        # The cache holds three of the six prompts: without a host what comes round again is always gone.
        assert known > 0.5 * read if host_mebibytes else known < 0.1 * read


async def test_a_stop_string_ends_only_its_request() -> None:
    model = llama()
    first, second = prompts(2)
    whole, other = expected(model, first, 12), expected(model, second, 12)
    stop = Letters().decode(whole[5:7])
    with started(model) as (engine, _):
        jobs = [engine.submit(generate(first, stops=[stop]), Terms(1)), engine.submit(generate(second), Terms(1))]
        assert await asyncio.gather(*map(tokens_of, jobs)) == [whole[:5], other]


async def test_a_seed_repeats_beside_any_others() -> None:
    (prompt, *others) = prompts(5)
    drawn: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9, "top_k": 40, "seed": 7}
    with started(llama()) as (engine, _):
        alone = await tokens_of(engine.submit(generate(prompt, **drawn), Terms(1)))
        jobs = [engine.submit(generate(one, temperature=1.5), Terms(1)) for one in others]
        again, *_rest = await asyncio.gather(
            *map(tokens_of, [engine.submit(generate(prompt, **drawn), Terms(1)), *jobs])
        )
        assert again == alone


async def test_log_probabilities_are_those_of_the_model() -> None:
    model = llama()
    (prompt,) = prompts(1)
    logits = model(torch.tensor([prompt])).logits[0, -1].float().log_softmax(-1)
    best = logits.topk(3)
    with started(model) as (engine, _):
        job = engine.submit(generate(prompt, 1, logprobs=3), Terms(1))
        (told,) = [one async for delta in job.results(Delta) for one in delta.logprobs]
    assert [token for token, _ in told.top] == best.indices.tolist()
    assert [value for _, value in told.top] == pytest.approx(best.values.tolist(), abs=1e-3)
    assert (told.token, told.logprob) == told.top[0]


Fault = Callable[[Several[Sequence]], Exception | None]


class Flawed:
    """A model around a good one, whose steps fail as told."""

    def __init__(self, good: Any, fault: Fault) -> None:
        self._good, self._fault = good, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._good, name)

    def launch(self, sequences: Several[Sequence], copies: Several[Copy]) -> Any:
        if error := self._fault(sequences):
            raise error
        return self._good.launch(sequences, copies)


async def test_a_sequence_that_fails_fails_alone() -> None:
    model = llama()
    asked = prompts(6)
    bad = asked[3]
    wanted = [expected(model, prompt, 12) for prompt in asked]

    def fault(sequences: Several[Sequence]) -> Exception | None:
        return ValueError("this one") if any(one.request.prompt == bad for one in sequences) else None

    with started(model, fault=fault) as (engine, _):
        jobs = [engine.submit(generate(prompt), Terms(1)) for prompt in asked]
        found = await asyncio.gather(*map(tokens_of, jobs), return_exceptions=True)
        assert isinstance(found[3], RequestError) and found[3].status == 500
        assert [one for number, one in enumerate(found) if number != 3] == [
            one for number, one in enumerate(wanted) if number != 3
        ]


async def test_memory_that_runs_out_makes_steps_smaller_and_loses_nobody() -> None:
    model = llama()
    asked = prompts(6)
    wanted = [expected(model, prompt, 12) for prompt in asked]

    def fault(sequences: Several[Sequence]) -> Exception | None:
        return MemoryError() if sum(one.scheduled for one in sequences) > 20 else None

    with started(model, fault=fault) as (engine, metrics):
        jobs = [engine.submit(generate(prompt), Terms(1)) for prompt in asked]
        assert await asyncio.gather(*map(tokens_of, jobs)) == wanted
        assert sample(metrics, "springtide_out_of_memory_retries_total") >= 1
        assert engine._limits.tokens <= 32


async def test_a_token_that_is_no_text_fails_only_its_request() -> None:
    model = llama()
    first, second = prompts(2)
    strange = expected(model, first, 3)[2]
    assert strange not in expected(model, second, 12)
    with started(model) as (engine, _):
        decode = engine.tokenizer.decode

        def picky(tokens: Several[int]) -> str:
            assert strange not in tokens
            return decode(tokens)

        engine.tokenizer.decode = picky  # type: ignore[method-assign]
        jobs = [engine.submit(generate(prompt), Terms(1)) for prompt in (first, second)]
        found = await asyncio.gather(*map(tokens_of, jobs), return_exceptions=True)
    assert isinstance(found[0], RequestError) and found[0].status == 500
    assert found[1] == expected(llama(), second, 12)


async def test_what_never_fits_is_told_so() -> None:
    first, second = prompts(2)

    def fault(sequences: Several[Sequence]) -> Exception | None:
        return MemoryError() if sequences[0].request.prompt == first else None

    with started(llama(), fault=fault) as (engine, _):
        with pytest.raises(RequestError) as refused:
            await tokens_of(engine.submit(generate(first), Terms(1)))
        assert (refused.value.status, refused.value.code) == (413, "out_of_memory")
        assert len(await tokens_of(engine.submit(generate(second), Terms(1)))) == 12


async def test_a_reader_that_leaves_frees_its_blocks() -> None:
    first, second = prompts(2)
    with started(llama()) as (engine, metrics):
        job = engine.submit(generate(first, 400), Terms(1))
        await job.begun_answering()
        engine.cancel(job)
        assert len(await tokens_of(engine.submit(generate(second), Terms(1)))) == 12
        assert sample(metrics, "vllm:num_requests_running") == 0
        assert sample(metrics, "vllm:kv_cache_usage_perc") == 0


def test_other_kinds_of_attention_are_refused() -> None:
    gpt2 = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
        GPT2Config(vocab_size=300, n_embd=48, n_layer=2, n_head=4, n_positions=512)
    ).eval()
    with pytest.raises(ModelError, match="type gpt2 can't be served for Generate"):
        check(gpt2, 300)


@pytest.mark.parametrize("kind", ["scale", "mask"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_that_computes_something_else_is_refused(
    smollm2: Path, dtype: torch.dtype, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With half the scale, or without what came before."""
    model: Any = AutoModelForCausalLM.from_pretrained(smollm2, dtype=dtype)
    check(model, 300)
    decode, prefill = attention.decode, attention.prefill

    def half(
        query: torch.Tensor, cache: torch.Tensor, tables: torch.Tensor, lengths: torch.Tensor, block: int, scale: float
    ) -> torch.Tensor:
        return decode(query, cache, tables, lengths, block, scale / 2)

    def alone(query: torch.Tensor, cache: torch.Tensor, part: attention.Part, scale: float) -> torch.Tensor:
        return prefill(query, cache, replace(part, mask=part.mask.logical_not().fill_(True)), scale)

    name, wrong = ("decode", half) if kind == "scale" else ("prefill", alone)
    monkeypatch.setattr(attention, name, wrong)
    with pytest.raises(ModelError, match="their attention is of another kind"):
        check(model, 300)
    monkeypatch.undo()
    check(model, 300)


def test_weights_that_are_not_finite_are_refused() -> None:
    model = llama()
    model.model.layers[1].mlp.up_proj.weight.data[3, 4] = float("nan")
    with pytest.raises(ModelError, match="not finite"):
        check(model, 300)


def test_a_cache_that_is_too_small_is_refused() -> None:
    model = llama(num_hidden_layers=64, num_key_value_heads=6, head_dim=128)
    with pytest.raises(ModelError, match="too little for 256 tokens"):
        build(model, GenerateSettings(cache_mebibytes=1), 512, frozenset(), HostMemory(90), 300)


KERNEL = """
import torch
from springtide_server.engine import attention
from springtide_server.engine.paged_decode import paged_decode

torch.manual_seed(0)
for sequences, key_heads, group, size, longest in [(3, 2, 3, 64, 150), (2, 1, 4, 80, 17), (1, 2, 1, 128, 700)]:
    cache = torch.randn(2, 1600, key_heads, size)
    lengths = torch.randint(1, longest + 1, (sequences,))
    lengths[0] = longest
    tables = torch.stack([torch.randperm(100)[: (longest + 15) // 16] for _ in range(sequences)])
    query = torch.randn(sequences, key_heads * group, size)
    arguments = (query, cache, tables, lengths, 16, size**-0.5)
    assert (paged_decode(*arguments) - attention.decode(*arguments)).abs().max() < 1e-5
"""


def test_the_gpu_kernel_gives_what_torch_gives() -> None:
    """In Triton's interpreter, which runs it on a CPU."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    subprocess.run([sys.executable, "-c", KERNEL], env=environment, check=True, timeout=300)


def test_attention_is_that_of_the_definition() -> None:
    torch.manual_seed(3)
    cache, query = torch.randn(2, 64, 2, 8), torch.randn(1, 6, 8)
    tables, lengths = torch.tensor([[2, 0]]), torch.tensor([21])
    slots = [*range(32, 48), *range(5)]
    keys, values = cache[0][slots].repeat_interleave(3, 1), cache[1][slots].repeat_interleave(3, 1)
    scores = torch.einsum("hd,khd->hk", query[0], keys) / 8**0.5
    wanted = torch.einsum("hk,khd->hd", scores.softmax(-1), values)
    found = attention.decode(query, cache, tables, lengths, 16, 8**-0.5)[0]
    assert torch.allclose(found, wanted, atol=1e-5)
