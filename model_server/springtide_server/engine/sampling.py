"""Choosing the next token of each sequence from the model's logits."""

from collections.abc import Sequence as Several

import torch

from springtide_server.engine.sequence import Sequence
from springtide_server.engine.work import TokenLogprob


class Sampler:
    """Keeps the random numbers of requests with a seed, so that the same request is answered the same again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._generator = torch.Generator(device)
        self._generator.seed()
        self._seeded: dict[Sequence, torch.Generator] = {}

    def __call__(self, logits: torch.Tensor, sequences: Several[Sequence]) -> torch.Tensor:
        """A token for each row of logits [sequences, vocabulary], float32; [sequences] on the same device."""
        likeliest = logits.argmax(-1)
        rows = [row for row, one in enumerate(sequences) if one.request.temperature > 0]
        if not rows:
            return likeliest
        chosen = [sequences[row] for row in rows]
        index = self._tensor(rows, torch.long)
        likeliest[index] = self._draw(logits[index], chosen)
        return likeliest

    def forget(self, sequence: Sequence) -> None:
        """The sequence is at its end."""
        self._seeded.pop(sequence, None)

    def _draw(self, logits: torch.Tensor, sequences: Several[Sequence]) -> torch.Tensor:
        requests = [one.request for one in sequences]
        temperature = self._tensor([one.temperature for one in requests], torch.float32)
        # Shifted first, so that a tiny temperature can't divide its way to infinity minus infinity.
        probabilities = ((logits - logits.max(-1, keepdim=True).values) / temperature[:, None]).softmax(-1)
        if any(one.top_p < 1 or one.top_k for one in requests):
            top_p = self._tensor([one.top_p for one in requests], torch.float32)
            top_k = self._tensor([one.top_k or logits.shape[1] for one in requests], torch.long)
            ordered, tokens = probabilities.sort(descending=True)
            rank = torch.arange(logits.shape[1], device=self._device)
            # A token stays while those before it have less than top_p together, so the first always does.
            out = (ordered.cumsum(-1) - ordered >= top_p[:, None]) | (rank >= top_k[:, None])
            probabilities = torch.zeros_like(probabilities).scatter_(1, tokens, ordered.masked_fill(out, 0))
        # The largest of p / exponential noise falls on each token with probability p (the exponential race).
        noise = torch.empty_like(probabilities).exponential_(generator=self._generator)
        for row, one in enumerate(sequences):
            if one.request.seed is not None:
                noise[row].exponential_(generator=self._own(one, one.request.seed))
        return (probabilities / noise).argmax(-1)

    def _own(self, sequence: Sequence, seed: int) -> torch.Generator:
        if sequence not in self._seeded:
            self._seeded[sequence] = torch.Generator(self._device).manual_seed(seed)
        return self._seeded[sequence]

    def _tensor(self, values: Several[float], dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype, device=self._device)


def logprobs(logits: torch.Tensor, tokens: torch.Tensor, sequences: Several[Sequence]) -> list[TokenLogprob | None]:
    """What is told of each row's token, before temperature: None for those that didn't ask."""
    told: list[TokenLogprob | None] = [None] * len(sequences)
    rows = [row for row, one in enumerate(sequences) if one.request.logprobs is not None]
    if not rows:
        return told
    index = torch.tensor(rows, device=logits.device)
    values = logits[index].log_softmax(-1)
    own = values.gather(1, tokens[index][:, None])[:, 0].tolist()
    most = max(sequences[row].request.logprobs or 0 for row in rows)
    top = values.topk(most) if most else None
    for place, row in enumerate(rows):
        count = sequences[row].request.logprobs or 0
        best: list[tuple[int, float]] = []
        if top is not None:
            best = list(zip(top.indices[place, :count].tolist(), top.values[place, :count].tolist(), strict=True))
        told[row] = TokenLogprob(int(tokens[row]), own[place], best)
    return told
