"""From a model folder to a model that runs. Nothing is fetched and no code of the folder is executed."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from transformers import AutoModel, AutoModelForCausalLM
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from springtide_server import cgroup
from springtide_server.engine import accuracy
from springtide_server.engine.embed import POOLINGS, Embedder, Pooling
from springtide_server.engine.engine import Phase
from springtide_server.engine.fuse import check_compiler, fuse
from springtide_server.engine.language import build, check
from springtide_server.engine.lower import lower
from springtide_server.engine.memory import measured
from springtide_server.engine.runner import Runner
from springtide_server.engine.settings import GenerateSettings
from springtide_server.engine.tokenizer import Tokenizer
from springtide_server.errors import ModelError
from springtide_server.folder import read_json
from springtide_server.precision import Outcome, Plain, Precision, PrecisionPolicy
from springtide_server.protocol import Task

DTYPES: dict[Plain, torch.dtype] = {"FP32": torch.float32, "BF16": torch.bfloat16, "FP16": torch.float16}

log = logging.getLogger(__name__)


class Loaded(NamedTuple):
    """A model with its tokenizer."""

    model: Runner | Embedder
    tokenizer: Tokenizer


def load(
    folder: Path,
    task: Task,
    policy: PrecisionPolicy,
    generate: GenerateSettings,
    phase: Phase,
    report: Callable[[Outcome], None] = lambda _: None,
) -> Loaded:
    """The model, warm. `phase(name)` times a part of the load, `report` learns the precision; raises ModelError."""
    _set_up()
    model_type = read_json(folder / "config.json")["model_type"]
    if model_type not in CONFIG_MAPPING:
        raise ModelError(
            f"{folder / 'config.json'} names the architecture {model_type!r}, which transformers "
            f"{transformers.__version__} does not know; use another model or a newer model server"
        )
    if policy.compile:
        check_compiler(_device().type)
    with phase("tokenizer"):
        tokenizer = Tokenizer(folder)
        if task == "Generate" and not tokenizer.has_chat_template:
            raise ModelError(f"{folder} has no chat template; add chat_template.jinja, or use an instruct model")
    plain = _plain(policy.asked)
    # torch.compile needs shapes that repeat.
    read = partial(_read, folder, task, tokenizer, plain, phase, pack=not policy.compile)
    module, embedder, measure = read()
    context = _context_length(folder, module.config, tokenizer)
    rows = [row[:context] for row in tokenizer.encode(accuracy.TEXTS)]
    outcome = Outcome(policy.asked, plain, None)
    if policy.asked == "INT8" or policy.asked == "W8A8":
        with phase("precision"):
            drop_of = accuracy.perplexity_drop if task == "Generate" else accuracy.cosine_drop
            outcome = lower(folder, module, policy.asked, policy, plain, partial(measure, rows), drop_of)
        if outcome.used == plain:
            del module, embedder, measure  # before the next one takes its memory
            module, embedder, measure = read()
    report(outcome)
    precision = f"{outcome.used} {_device().type}"
    if embedder is not None:
        embedder.precision = precision
        if policy.compile:
            with phase("compile"):
                fuse(module, lambda count, tokens: embedder([[0] * tokens] * count), context)
    with phase("warmup"):
        accuracy.check_outputs(measure(rows[:1]), folder, outcome.used)
        if embedder is not None:
            return Loaded(embedder, tokenizer)
        memory = measured(_device(), generate.memory_percent)
        ends = _end_tokens(module, tokenizer)
        runner = build(module, generate, context, ends, memory, tokenizer.vocabulary, precision)
    return Loaded(runner, tokenizer)


def _plain(asked: Precision) -> Plain:
    """The format of what isn't quantised, and of all if the quantised model is too bad."""
    if asked == "FP32" or asked == "BF16" or asked == "FP16":
        return asked
    return "BF16" if _device().type == "cuda" else "FP32"


def _read(
    folder: Path, task: Task, tokenizer: Tokenizer, plain: Plain, phase: Phase, pack: bool
) -> tuple[PreTrainedModel, Embedder | None, accuracy.Measure]:
    """The model, for Embed its embedder as well, and how its accuracy is measured."""
    with phase("weights"):
        module = _weights(folder, AutoModelForCausalLM if task == "Generate" else AutoModel, DTYPES[plain])
        accuracy.check_weights(module, folder, plain)
    log.info("weights loaded", extra={"fields": {"precision": plain}})
    if task == "Generate":
        with phase("check"):
            check(module, tokenizer.vocabulary)
        return module, None, accuracy.surprises(lambda row: _logits(module, row))
    embedder = _embedder(folder, module, tokenizer)
    if pack:
        embedder.pack()
    return module, embedder, accuracy.vectors(embedder)


def _logits(module: Any, row: Sequence[int]) -> torch.Tensor:
    logits: torch.Tensor = module(input_ids=torch.tensor([list(row)], device=module.device)).logits[0]
    return logits


def _set_up() -> None:
    threads = cgroup.threads()
    torch.set_num_threads(threads)
    transformers.logging.disable_default_handler()
    transformers.logging.enable_propagation()
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    fields = {"torch": torch.__version__, "threads": threads, "device": _device().type}
    log.info("engine starts", extra={"fields": fields})


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _weights(folder: Path, kind: Any, dtype: torch.dtype) -> PreTrainedModel:
    model, report = kind.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    # transformers fills what is missing with random numbers and goes on. A pooler isn't used here.
    missing = sorted(name for name in report["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} tensors, the first is {missing[0]}; copy the model again")
    ready: PreTrainedModel = model.to(_device()).eval()
    return ready


def _end_tokens(model: Any, tokenizer: Tokenizer) -> frozenset[int]:
    ends = model.generation_config.eos_token_id
    named = ends if isinstance(ends, list) else [ends]
    return frozenset(token for token in [*named, tokenizer.end_token] if token is not None)


def _embedder(folder: Path, model: Any, tokenizer: Tokenizer) -> Embedder:
    pooling, normalize = _sentence_transformers_modules(folder)
    length = _context_length(folder, model.config, tokenizer)
    return Embedder(model, pooling, normalize, tokenizer.padding_token, length)


def _context_length(folder: Path, config: Any, tokenizer: Tokenizer) -> int:
    """The smallest of what the model's positions, its tokenizer and sentence-transformers' file allow, in tokens."""
    limits = [tokenizer.max_length, getattr(config, "max_position_embeddings", None)]
    limits.append(getattr(config, "sliding_window", None))  # within a window all attention is full
    limits.append((read_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length"))
    return min(limit for limit in limits if limit)


def _sentence_transformers_modules(folder: Path) -> tuple[Pooling, bool]:
    """Pooling and whether to normalise, from modules.json; without one, the mean, normalised."""
    modules = read_json(folder / "modules.json")
    if modules is None:
        return POOLINGS["mean"], True
    pooling, normalize = POOLINGS["mean"], False
    for module in modules:
        kind = module["type"].rpartition(".")[2]
        if kind == "Pooling":
            pooling = _pooling(folder / module["path"] / "config.json")
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            raise ModelError(
                f"{folder / 'modules.json'} asks for the module {kind}, which is not supported; use another model"
            )
    return pooling, normalize


def _pooling(path: Path) -> Pooling:
    config = read_json(path) or {}
    modes = [config["pooling_mode"]] if "pooling_mode" in config else []
    names = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "lasttoken"}
    modes += [names.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on is True]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ModelError(f"{path} asks for the pooling {modes}; supported is exactly one of {', '.join(POOLINGS)}")
    return POOLINGS[modes[0]]
