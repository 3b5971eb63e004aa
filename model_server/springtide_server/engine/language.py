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
# How alike the logits must be that transformers' own attention gives: cosines. A wrong mask or scale is far below.
ALIKE = {torch.float32: 0.9999, torch.float16: 0.999, torch.bfloat16: 0.99}

log = logging.getLogger(__name__)


def build(
    model: Any,
    settings: GenerateSettings,
    context: int,
    end_tokens: frozenset[int],
    memory: Memory,
    vocabulary: int,
    precision: str = "",
) -> Runner:
    """The runner, warm. `context` is the most tokens that the model can read; raises ModelError."""
    shape = Shape.of(model.config, model.dtype)
    on_cpu = model.device.type == "cpu"
    limits = StepLimits(
        settings.step_tokens or (CPU_STEP if on_cpu else GPU_STEP),
        settings.sequences or (CPU_SEQUENCES if on_cpu else GPU_SEQUENCES),
    )
    most = min(limits.tokens, context - 1)
    tokens = min(most, CPU_PROBE) if on_cpu else most
    probe = _prompt(tokens, vocabulary)
    with torch.inference_mode():
        reference = model(torch.tensor([probe[:24]], device=model.device), use_cache=False).logits[0, -1].float()
    model.set_attn_implementation(attention.NAME)
    blocks = -(-tokens // BLOCK)
    small = Runner(
        model, KVCache(shape, blocks, 0, model.device), BlockPool(blocks, BLOCK), limits, context, end_tokens
    )
    _check(small, probe[:24], reference, model)
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
    if settings.cache_mebibytes:
        room = settings.cache_mebibytes * MEBIBYTE
    count = min(int(room) // shape.token_bytes, limits.sequences * context) // BLOCK
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


def _check(runner: Runner, prompt: list[int], reference: torch.Tensor, model: Any) -> None:
    """A prompt in two parts and a single token must give what the model gives by itself."""
    kind = model.config.model_type
    try:
        logits = _feed(runner, prompt, [len(prompt) - 8, 7, 1])
    except (ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"models of the type {kind} can't be served for Generate: {error}") from None
    if not torch.isfinite(logits).all():
        raise ModelError("the model's output is not finite: its weights are damaged, or too large for the precision")
    alike = torch.nn.functional.cosine_similarity(logits, reference, dim=0).item()
    if not alike >= ALIKE.get(model.dtype, 0.99):
        raise ModelError(f"models of the type {kind} can't be served for Generate: their attention is of another kind")


def _feed(runner: Runner, prompt: list[int], parts: list[int]) -> torch.Tensor:
    """Read the prompt in parts; the logits [vocabulary] after the last."""
    sequence = Sequence(cast(Job, None), Generate(prompt, 1, temperature=0))  # nobody waits for it
    sequence.blocks = list(range(-(-len(prompt) // BLOCK)))
    for part in parts:
        sequence.scheduled = part
        logits = runner.logits([sequence])
        sequence.computed += part
    return logits[-1]
