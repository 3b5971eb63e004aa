"""What is asked of an engine and what comes back, and the way between the engine's thread and the event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from springtide_server.engine.queue import Entry


@dataclass(frozen=True)
class Generate:
    """Continue a prompt."""

    prompt: list[int]
    max_tokens: int
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0: no limit."""
    seed: int | None = None
    stops: list[str] = field(default_factory=list)
    logprobs: int | None = None
    """How many of the likeliest tokens are told with each token; None tells nothing."""
    ignore_end: bool = False
    """Go on after the model's end token."""

    def ends_at(self, token: int, end_tokens: frozenset[int]) -> bool:
        """Whether the token says that the text is at its end."""
        return token in end_tokens and not self.ignore_end

    @property
    def lengths(self) -> list[int]:
        """In the queue it counts as one row, with all that it may write."""
        return [len(self.prompt) + self.max_tokens]


@dataclass(frozen=True)
class Embed:
    """One vector for each input, in their order."""

    inputs: list[list[int]]

    @property
    def lengths(self) -> list[int]:
        """Each input is a row."""
        return [len(tokens) for tokens in self.inputs]


@dataclass(frozen=True)
class Terms:
    """How a request may wait: the rank of its priority class, and when its answer is of no use any more."""

    rank: int
    deadline: float | None = None
    """By time.monotonic()."""
    priority: str | None = None
    """The name of the class, whose rank may have changed when the request comes to the queue."""


@dataclass(frozen=True)
class TokenLogprob:
    """A chosen token with its log-probability before temperature, and the likeliest ones, the best first."""

    token: int
    logprob: float
    top: list[tuple[int, float]]


@dataclass(frozen=True)
class Delta:
    """The next piece of a generated text, possibly empty. The last one carries the reason."""

    text: str
    tokens: int
    """Generated since the start, the end token not counted."""
    finish_reason: Literal["stop", "length"] | None = None
    logprobs: list[TokenLogprob] = field(default_factory=list)
    """Of the tokens that the piece consists of, if they were asked for."""


@dataclass(frozen=True)
class Vectors:
    """Some of the embeddings, by the index of their input: float32, little endian."""

    rows: dict[int, bytes]


Request = Generate | Embed
Result = Delta | Vectors
R = TypeVar("R", Delta, Vectors)


class Job(Entry):
    """A request on its way through the engine.

    Made, read and cancelled on the event loop; `emit` and `finish` are called by the engine's thread, `fail` by both.
    """

    def __init__(self, request: Request, terms: Terms) -> None:
        super().__init__(request.lengths, terms.rank, time.monotonic(), terms.deadline)
        self.request = request
        self.cancelled = False
        """Nobody waits for the answer any more, or it is already an error."""
        self.unanswered = len(self.lengths)
        self.timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._results: asyncio.Queue[Result | Exception | None] = asyncio.Queue()
        self._first: list[Result | Exception | None] = []

    async def begun_answering(self) -> None:
        """Wait for the first result; raises the error if there is none because of one."""
        self._first.append(await self._results.get())
        if isinstance(self._first[0], Exception):
            raise self._first[0]

    async def results(self, kind: type[R]) -> AsyncIterator[R]:
        """What the engine makes of the request, as it comes; raises the error that `fail` was given."""
        while (result := self._first.pop() if self._first else await self._results.get()) is not None:
            if isinstance(result, Exception):
                raise result
            if not isinstance(result, kind):
                raise TypeError(f"{type(self.request).__name__} was answered with {type(result).__name__}")
            yield result

    def emit(self, result: Result) -> None:
        """Hand over a result."""
        self._put(result)

    def finish(self) -> None:
        """Nothing more comes."""
        self._put(None)

    def fail(self, error: Exception) -> None:
        """The reader gets the error instead of more results."""
        self.cancelled = True
        self._put(error)

    def _put(self, item: Result | Exception | None) -> None:
        hand_over([(self, [item])])


def hand_over(items: Sequence[tuple[Job, Sequence[Result | Exception | None]]]) -> None:
    """Pass results to their readers, all in one call of the event loop; None is the end of a job's results."""

    def put() -> None:
        for job, results in items:
            for result in results:
                job._results.put_nowait(result)

    if not items:
        return
    try:
        items[0][0]._loop.call_soon_threadsafe(put)
    except RuntimeError:  # the loop is closed: the process ends, and nobody reads any more
        for job, _ in items:
            job.cancelled = True
