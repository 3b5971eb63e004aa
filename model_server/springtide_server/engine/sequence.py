"""A text that is being generated: its tokens, its blocks, and what of it may be sent."""

from collections.abc import Callable
from collections.abc import Sequence as Tokens
from typing import Literal, NamedTuple

from springtide_server.engine.blocks import digest
from springtide_server.engine.text import Detokenizer, StopStrings
from springtide_server.engine.work import Delta, Generate, Job, TokenLogprob


class Sequence:
    """A request in the engine. Of its `tokens`, prompt and generated ones, the first `computed` are in its blocks."""

    def __init__(self, job: Job, request: Generate) -> None:
        self.job, self.request = job, request
        self.tokens = list(request.prompt)
        self.computed = 0
        self.scheduled = 0
        """Tokens that the present step computes."""
        self.blocks: list[int] = []
        self.passed = 0
        """How often others went first since it had to give way."""
        self.displaced = False
        """Whether it had to give way to a better class, which happens once."""
        self._digests: list[bytes] = []

    @property
    def order(self) -> tuple[int, float]:
        """The best first, and the worst is the first to give way."""
        return self.job.rank, self.job.arrival

    @property
    def missing(self) -> int:
        """Tokens yet to compute before the next can be chosen."""
        return len(self.tokens) - self.computed

    @property
    def completes(self) -> bool:
        """Whether a token is chosen after the present step."""
        return self.scheduled > 0 and self.computed + self.scheduled == len(self.tokens)

    @property
    def generated(self) -> int:
        """How many tokens were generated."""
        return len(self.tokens) - len(self.request.prompt)

    def digests(self, size: int, tokens: int) -> list[bytes]:
        """Of the full blocks among the first so many tokens."""
        while len(self._digests) < tokens // size:
            start = len(self._digests) * size
            before = self._digests[-1] if self._digests else b""
            self._digests.append(digest(before, self.tokens[start : start + size]))
        return self._digests[: tokens // size]


class Chosen(NamedTuple):
    """A sequence's next token."""

    sequence: Sequence
    token: int
    logprob: TokenLogprob | None


class Answer:
    """Turns the generated tokens into pieces of text."""

    def __init__(self, request: Generate, decode: Callable[[Tokens[int]], str], end_tokens: frozenset[int]) -> None:
        self._request, self._end_tokens = request, end_tokens
        self._detokenizer, self._stops = Detokenizer(decode), StopStrings(request.stops)
        self._count = 0
        self._held: list[TokenLogprob] = []  # of tokens whose text is not complete

    def push(self, token: int, logprob: TokenLogprob | None) -> Delta:
        """The piece that the token completes, possibly empty; with a reason if it is the last."""
        if self._request.ends_at(token, self._end_tokens):
            return self._last("stop")
        self._count += 1
        if logprob is not None:
            self._held.append(logprob)
        text = self._stops.push(self._detokenizer.push(token))
        if self._stops.found:
            return self._delta(text, "stop")
        if self._count >= self._request.max_tokens:
            return self._last("length", text)
        return self._delta(text) if text else Delta("", self._count)

    def _last(self, reason: Literal["stop", "length"], text: str = "") -> Delta:
        text += self._stops.push(self._detokenizer.flush())
        return self._delta(text + self._stops.flush(), "stop" if self._stops.found else reason)

    def _delta(self, text: str, reason: Literal["stop", "length"] | None = None) -> Delta:
        held, self._held = self._held, []
        return Delta(text, self._count, reason, held)
