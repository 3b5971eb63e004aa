"""SmolLM2-135M-Instruct from its GGUF file to a Hugging Face folder.

The weights were quantised to 4 bits (Q4_1) for the GGUF file and are widened back to float32 here, so the model is
slightly worse than the original one; accuracy is to be compared with this model, not with the published one.
"""

from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

CONTEXT_LENGTH = 8192


def convert(gguf: Path, folder: Path) -> None:
    """Write config, float32 safetensors, tokenizer and chat template of the GGUF file into the folder."""
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    _convert_weights(gguf, folder)
    _convert_tokenizer(gguf, folder)


def _convert_weights(gguf: Path, folder: Path) -> None:
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = read.config.to_dict()
    # transformers remembers that the weights came from GGUF, and then refuses to save: take the weights alone.
    for name in ("quantization_config", "_name_or_path"):
        settings.pop(name, None)
    model = LlamaForCausalLM(LlamaConfig(**settings))
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(folder)


def _convert_tokenizer(gguf: Path, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # GGUF names the pre-tokenizer ("smollm": every digit alone, then byte level) and transformers' reader keeps the
    # second half only, which splits runs of spaces before a digit in another way than the model was trained with.
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = CONTEXT_LENGTH
    tokenizer.save_pretrained(folder)
