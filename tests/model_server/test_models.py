"""What `hack.models` brings."""

import json
import subprocess
import sys
from pathlib import Path

from tokenizers import Tokenizer


def test_smollm2_ends_its_turns_and_knows_its_context(smollm2: Path) -> None:
    config = json.loads((smollm2 / "config.json").read_text())
    tokenizer = json.loads((smollm2 / "tokenizer_config.json").read_text())
    assert (config["architectures"], config["max_position_embeddings"]) == (["LlamaForCausalLM"], 8192)
    assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2)
    assert (tokenizer["bos_token"], tokenizer["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert "quantization_config" not in config


def test_smollm2_splits_text_as_it_was_trained(smollm2: Path) -> None:
    tokenizer = Tokenizer.from_file(str(smollm2 / "tokenizer.json"))
    assert tokenizer.encode("a   2024<|im_end|>").tokens == ["a", "ĠĠĠ", "2", "0", "2", "4", "<|im_end|>"]


def test_every_user_may_read_the_folders(smollm2: Path, minilm: Path) -> None:
    for folder in (smollm2, minilm):
        assert all(path.stat().st_mode & 0o004 for path in [folder, *folder.rglob("*")])


def test_a_second_call_only_looks_at_the_cache(smollm2: Path, minilm: Path) -> None:
    code = "import sys; from hack.models.__main__ import main; main(); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout.split()) == (0, [str(smollm2), str(minilm)])
