"""From a causal language model of transformers to a runner: a check that it computes the same, and the cache's size."""

import logging
from typing import Any, cast

import torch

from springtide_server.engine import attention
from springtide_server.engine.blocks import BlockPool
from springtide_server.engine.kv import BLOCK, KVCache, Shape
from springtide_server.engine.memory import Memory
from springtide_server.engine.runner import Runner
from springtide_server.engine.scheduler import StepLimits
from springtide_server.engine.sequence import Sequence
from springtide_server.engine.settings import GenerateSettings
from springtide_server.engine.work import Generate, Job
from springtide_server.errors import ModelError

MEBIBYTE = 1 << 20
# Tokens of a step unless told otherwise: enough to make reading a prompt worth it, not so many that writers wait long.
CPU_STEP, GPU_STEP = 512, 4096
CPU_PROBE = 128  # tokens of the step whose memory is measured; on a GPU a whole one costs nothing
CPU_SEQUENCES, GPU_SEQUENCES = 64, 256
LEAST_TOKENS = 256  # of a cache that is of any use
# On a host other things grow with the load as well; a GPU is ours alone.
HOST_PART = 0.5
# How far the logits may be from those that transformers' own attention gives, in parts of their own size, both without
# their mean. SmolLM2: rounding to bfloat16 0.03, half the scale 0.5, no mask 0.9.
APART = {torch.float32: 0.01}
APART_HALF = 0.1
CHECKED = 24  # tokens

log = logging.getLogger(__name__)


def check(model: Any, vocabulary: int) -> None:
    """That the model gives the same with our attention as by itself, which it has again afterwards.

    To be asked before the model is quantised, as 8 bits round too much to tell. Raises ModelError.
    """
    kind, usual = model.config.model_type, model.config._attn_implementation
    prompt, blocks = _prompt(CHECKED, vocabulary), -(-CHECKED // BLOCK)
    with torch.inference_mode():
        wanted = model(torch.tensor([prompt], device=model.device), use_cache=False).logits[0, -1].float()
    cache = KVCache(Shape.of(model.config, model.dtype), blocks, 0, model.device)
    model.set_attn_implementation(attention.NAME)
    try:
        runner = Runner(model, cache, BlockPool(blocks, BLOCK), StepLimits(CHECKED, 1), CHECKED, frozenset())
        logits = _feed(runner, prompt, [CHECKED - 8, 7, 1])  # a prompt in two parts, and a single token
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"models of the type {kind} can't be served for Generate: {error}") from None
    finally:
        model.set_attn_implementation(usual)
    if not torch.isfinite(logits).all():
        raise ModelError("the model's output is not finite: its weights are damaged, or too large for the precision")
    wanted, logits = wanted - wanted.mean(), logits - logits.mean()
    apart, most = float((logits - wanted).norm() / wanted.norm()), APART.get(model.dtype, APART_HALF)
    if not apart <= most:
        raise ModelError(
            f"models of the type {kind} can't be served for Generate: their attention is of another kind "
            f"(the logits are {apart:.3f} of their size apart; {most} is allowed)"
        )


def build(
    model: Any,
    settings: GenerateSettings,
    context: int,
    end_tokens: frozenset[int],
    memory: Memory,
    vocabulary: int,
    precision: str = "",
) -> Runner:
    """The runner, warm, of a model that `check` found right. `context` is the most tokens that it can read.

    Raises ModelError.
    """
    shape = Shape.of(model.config, model.dtype)
    on_cpu = model.device.type == "cpu"
    limits = StepLimits(
        settings.step_tokens or (CPU_STEP if on_cpu else GPU_STEP),
        settings.sequences or (CPU_SEQUENCES if on_cpu else GPU_SEQUENCES),
    )
    most = min(limits.tokens, context - 1)
    tokens = min(most, CPU_PROBE) if on_cpu else most
    probe = _prompt(tokens, vocabulary)
    model.set_attn_implementation(attention.NAME)
    blocks = -(-tokens // BLOCK)
    small = Runner(
        model, KVCache(shape, blocks, 0, model.device), BlockPool(blocks, BLOCK), limits, context, end_tokens
    )
    memory.begin()
    _feed(small, probe, [tokens])
    peak = (
        memory.peak() or 0
    ) * most / tokens + 4 * 8 * limits.sequences * vocabulary  # sampling holds a few copies of the logits
    del small
    memory.give_back()
    room = memory.available() - peak
    if on_cpu:
        room *= HOST_PART
    room = min(room, limits.sequences * context * shape.token_bytes)
    if settings.cache_mebibytes:
        room = settings.cache_mebibytes * MEBIBYTE
    count = int(room) // shape.token_bytes // BLOCK
    if count * BLOCK < min(LEAST_TOKENS, context):
        raise ModelError(
            f"the KV cache would have {max(0, int(room)) // MEBIBYTE} MiB, too little for {LEAST_TOKENS} tokens; "
            f"give the server more memory, or set --kv-cache-mebibytes"
        )
    host = settings.host_mebibytes * MEBIBYTE // (shape.token_bytes * BLOCK)
    fields = {"tokens": count * BLOCK, "mebibytes": count * BLOCK * shape.token_bytes // MEBIBYTE, "host_blocks": host}
    log.info("KV cache", extra={"fields": fields})
    if count * BLOCK < context:
        log.warning(
            "the KV cache is smaller than the model's context", extra={"fields": {"context": context, **fields}}
        )
    cache = KVCache(shape, count, host, model.device)
    pool = BlockPool(count, BLOCK, host, settings.share_prefixes)
    runner = Runner(model, cache, pool, limits, min(context, count * BLOCK), end_tokens)
    runner.precision = precision
    runner.record()
    return runner


def _prompt(tokens: int, vocabulary: int) -> list[int]:
    return [(7919 * place + 13) % vocabulary for place in range(tokens)]


def _feed(runner: Runner, prompt: list[int], parts: list[int]) -> torch.Tensor:
    """Read the prompt in parts; the logits [vocabulary] after the last."""
    sequence = Sequence(cast(Job, None), Generate(prompt, 1, temperature=0))  # nobody waits for it
    sequence.blocks = list(range(-(-len(prompt) // BLOCK)))
    for part in parts:
        sequence.scheduled = part
        logits = runner.logits([sequence])
        sequence.computed += part
    return logits[-1]
