"""Who may wait, and how long it would be. Pure: the time is given, and nothing waits here."""

from collections.abc import Sequence
from typing import Generic

from springtide_server.engine.cost import Pace
from springtide_server.engine.queue import E, PriorityQueue, Refused, Row


class Admission(Generic[E]):
    """Watches what leaves a queue and how long it takes, to say what that means for those who come.

    Each class has its own pace: seconds that pass per token of it. A class of which nothing is left waiting took its
    part of a batch's time; one that still waits took all of it, since its share of the work is what it waits for.
    """

    def __init__(self, queue: PriorityQueue[E], classes: int) -> None:
        self._queue = queue
        self._all = Pace()
        self._begin_anew(classes)
        self._busy_until = 0.0
        self._typical = 0.0  # seconds of a batch

    def _begin_anew(self, classes: int) -> None:
        self._paces = [Pace() for _ in range(classes)]
        self._running: list[int] = [0] * classes  # tokens by class
        self._left: list[bool] = [False] * classes

    def reclassify(self, classes: int, ranks: Sequence[int]) -> None:
        """There are so many classes now; `ranks` has the new rank of each old one. Their paces are learnt anew."""
        running, left = self._running, self._left
        self._begin_anew(classes)
        for own, stays, rank in zip(running, left, ranks, strict=True):
            self._running[rank] += own
            self._left[rank] |= stays

    def begins(self, rows: Sequence[Row[E]], until: float) -> None:
        """These rows have left the queue, and are expected to take until then."""
        classes = range(len(self._paces))
        self._running = [sum(row.length for row in rows if row.entry.rank == rank) for rank in classes]
        self._left = [self._queue.depth(rank) > 0 for rank in classes]
        self._busy_until = until

    def ends(self, seconds: float) -> None:
        """They took so long."""
        tokens = sum(self._running)
        self._all.observe(seconds, tokens)
        self._typical = self._typical + (seconds - self._typical) / 8 if self._typical else seconds
        for own, left, pace in zip(self._running, self._left, self._paces, strict=True):
            if left or own:
                pace.observe(seconds if left else seconds * own / tokens, own)
        self._busy_until = 0.0

    def wait(self, rank: int, now: float) -> float:
        """Seconds until a request of the class that came now would leave the queue."""
        own, pace = self._queue.own_tokens(rank), self._paces[rank]
        ahead = pace.seconds(own) if pace.known else self._all.seconds(self._queue.tokens(rank))
        return max(0.0, self._busy_until - now) + ahead

    def check(self, rank: int, tokens: int, deadline: float | None, now: float) -> None:
        """Raise Refused if the request can't wait (`PriorityQueue.victims`) or would wait for nothing (late).

        Nobody is late by a guess: only when something is waiting before them, and enough was seen.
        """
        self._queue.victims(rank, tokens)
        if deadline is None or not self._all.known or not self._queue.tokens(rank):
            return
        if now + self.wait(rank, now) + self._typical > deadline:
            raise Refused("late")
