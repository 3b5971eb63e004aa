"""A model folder's tokenizer, as the server uses it: no truncation, no padding, safe to call from several threads."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import TemplateError
from tokenizers import Tokenizer as Backend
from transformers import AutoTokenizer

from springtide_server.errors import ModelError, RequestError


class Tokenizer:
    """Text to tokens and back."""

    def __init__(self, folder: Path) -> None:
        loaded = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backend = getattr(loaded, "backend_tokenizer", None)
        if not isinstance(backend, Backend):
            raise ModelError(f"{folder} has a tokenizer without tokenizer.json; convert it to that format")
        # Files may ask for both (all-MiniLM-L6-v2 for 128 tokens); a cut text would get a wrong answer in silence.
        backend.no_truncation()
        backend.no_padding()
        self._template = loaded
        self._backend = backend
        self.folder = folder
        self.vocabulary = len(loaded)
        self.max_length = int(min(loaded.model_max_length, 1 << 62))
        self.end_token: int | None = loaded.eos_token_id
        self.padding_token: int = loaded.pad_token_id or 0

    @property
    def has_chat_template(self) -> bool:
        """Whether `chat` can work."""
        return self._template.chat_template is not None

    def chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        """Tokens of the conversation up to where the assistant speaks; RequestError when the template refuses it."""
        try:
            text = self._template.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except TemplateError as error:
            raise RequestError(
                400, f"messages: the model's chat template refuses them: {error}", param="messages"
            ) from None
        # The template writes the special tokens itself.
        return list(self._backend.encode(text, add_special_tokens=False).ids)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of each text, with the special tokens that the model was trained with."""
        return [encoding.ids for encoding in self._backend.encode_batch(list(texts))]

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, special ones left out."""
        return self._backend.decode(list(tokens), skip_special_tokens=True)

    def piece(self, token: int) -> str:
        """Text of one token by itself, special ones written out."""
        return self._backend.decode([token], skip_special_tokens=False)
