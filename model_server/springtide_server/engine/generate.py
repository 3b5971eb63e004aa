"""Generating text: one prompt at a time, with a KV cache."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from springtide_server.engine.text import Detokenizer, StopStrings
from springtide_server.engine.work import Delta, Generate

# Of a prompt at once: bounds the memory of a long one, and the time until a cancelled request lets go.
PREFILL_TOKENS = 512


class Generator:
    """A language model that answers prompts."""

    def __init__(
        self, model: Any, decode: Callable[[Sequence[int]], str], end_tokens: frozenset[int], context_length: int
    ) -> None:
        self._model = model
        self._decode = decode
        self._end_tokens = end_tokens
        self.context_length = context_length

    @property
    def precision(self) -> str:
        """What it computes with, as "float32 cpu"."""
        return f"{self._model.dtype} {self._model.device.type}".removeprefix("torch.")

    def run(self, request: Generate) -> Iterator[Delta]:
        """The answer as it grows: an empty piece after each part of the prompt, then one a token.

        Ends with a piece that has the finish reason; the caller may stop asking earlier.
        """
        cache = DynamicCache(config=self._model.config)
        for start in range(0, len(request.prompt), PREFILL_TOKENS):
            logits = self._forward(request.prompt[start : start + PREFILL_TOKENS], cache)
            yield Delta("", 0)
        sample = Sampler(request, self._model.device)
        detokenizer, stops = Detokenizer(self._decode), StopStrings(request.stops)
        text, count = "", 0
        while (token := sample(logits)) not in self._end_tokens:
            count += 1
            text = stops.push(detokenizer.push(token))
            if stops.found:
                break
            if count == request.max_tokens:
                yield Delta(text + _rest(detokenizer, stops), count, "length")
                return
            yield Delta(text, count)
            text = ""
            logits = self._forward([token], cache)
        yield Delta(text + _rest(detokenizer, stops), count, "stop")

    @torch.inference_mode()
    def _forward(self, tokens: Sequence[int], cache: DynamicCache) -> torch.Tensor:
        """Logits [vocabulary] after the last token, float32; the cache grows by the tokens."""
        ids = torch.tensor([tokens], device=self._model.device)
        output = self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits: torch.Tensor = output.logits[0, -1].float()
        return logits


def _rest(detokenizer: Detokenizer, stops: StopStrings) -> str:
    """What both held back; "" once a stop string was found."""
    text = stops.push(detokenizer.flush())
    return text + stops.flush()


class Sampler:
    """Chooses the next token as the request asks; the same seed gives the same choices."""

    def __init__(self, request: Generate, device: torch.device) -> None:
        self._temperature, self._top_p = request.temperature, request.top_p
        self._generator = torch.Generator(device)
        if request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(request.seed)

    def __call__(self, logits: torch.Tensor) -> int:
        """A token for the logits [vocabulary]."""
        if self._temperature == 0:
            return int(logits.argmax())
        # Shifted first, so that a tiny temperature can't divide its way to infinity minus infinity.
        probabilities = ((logits - logits.max()) / self._temperature).softmax(-1)
        if self._top_p < 1:
            ordered, tokens = probabilities.sort(descending=True)
            # Keep a token while those before it have less than top_p together; the first always stays.
            ordered[ordered.cumsum(-1) - ordered >= self._top_p] = 0
            return int(tokens[torch.multinomial(ordered, 1, generator=self._generator)])
        return int(torch.multinomial(probabilities, 1, generator=self._generator))
