"""Where requests wait: classes with weights and reserved shares, bounded by requests and by tokens.

No clock and no threads of its own. The order in which rows have a right to run:

1. The head of a class that was passed over in AGE batches, the longest passed over first. So the head of each of C
   classes has a row run within AGE + C batches.
2. Classes that got less than their reserved share while they waited, the one that lacks most first. The lack is counted
   in tokens after each batch, so a share that others have borrowed is given back in the very next batch.
3. By weight, eight times as much for each rank: the class that had least for its weight (stride scheduling, in tokens).

Within a class first come, first served. Rows that don't fit the batch being made are left for a later one.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from springtide_server.priorities import PriorityClass

AGE = 8  # batches
WEIGHT = 8  # times that of the next class
LOOK = 4  # times the rows of a batch are looked at to fill it


class Entry:
    """A request in the queue: rows of so many tokens each. Times are in seconds of whoever owns the clock."""

    def __init__(self, lengths: Sequence[int], rank: int, arrival: float, deadline: float | None = None) -> None:
        self.lengths, self.rank, self.arrival, self.deadline = lengths, rank, arrival, deadline
        # By length, so that neighbours go well together in a batch.
        self.waiting = sorted(range(len(lengths)), key=lengths.__getitem__)
        self.tokens = sum(lengths)
        """Of the rows that wait."""

    @property
    def begun(self) -> bool:
        """Whether some row has left the queue for a batch."""
        return len(self.waiting) < len(self.lengths)


E = TypeVar("E", bound=Entry)


class Row(NamedTuple, Generic[E]):
    """One row of a request."""

    entry: E
    number: int  # of the request's rows

    @property
    def length(self) -> int:
        """In tokens."""
        return self.entry.lengths[self.number]


class Refused(Exception):
    """A request can't wait here. The reasons: too_large, shed, queue_full."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Lane(Generic[E]):
    """One class."""

    def __init__(self, rank: int, kind: PriorityClass, classes: int) -> None:
        self.rank, self.sheddable, self.reserved = rank, kind.sheddable, kind.reserved_percent / 100
        self.weight = WEIGHT ** (classes - 1 - rank)
        self.entries: dict[E, None] = {}  # in the order of their arrival; a dict for its quick removal
        self.tokens = self.waiting = 0  # of all entries, the latter in rows
        self.had = 0.0  # tokens by weight
        self.lacks = 0.0  # tokens of its reserved share
        self.passed = 0  # batches in which the head had no row

    @property
    def head(self) -> E | None:
        return next(iter(self.entries), None)

    @property
    def badness(self) -> tuple[bool, int]:
        """What is evicted first is greatest."""
        return self.sheddable, self.rank

    def rows(self) -> Iterator[Row[E]]:
        return (Row(entry, number) for entry in self.entries for number in entry.waiting)


class PriorityQueue(Generic[E]):
    """The requests that wait. At most `places` of them, and `tokens` in all their rows."""

    def __init__(self, classes: Sequence[PriorityClass], places: int, tokens: int) -> None:
        self._lanes = self._new_lanes(classes)
        self._places, self._tokens = places, tokens
        self._soonest = math.inf  # no deadline is before this
        self._floor = 0.0  # what a class that begins to wait counts as having had, so that nobody saves up

    @staticmethod
    def _new_lanes(classes: Sequence[PriorityClass]) -> list[_Lane[E]]:
        return [_Lane(rank, kind, len(classes)) for rank, kind in enumerate(classes)]

    def reclassify(self, classes: Sequence[PriorityClass], ranks: Sequence[int]) -> None:
        """From now on there are these classes; `ranks` has the new rank of each old one. Nobody has to go.

        Who waits keeps the order of arrival. What each class had is forgotten.
        """
        waiting = sorted(self, key=lambda entry: entry.arrival)
        self._lanes, self._floor = self._new_lanes(classes), 0.0
        for entry in waiting:
            entry.rank = ranks[entry.rank]
            self._join(entry)

    def __len__(self) -> int:
        return sum(len(lane.entries) for lane in self._lanes)

    def depth(self, rank: int) -> int:
        """Requests of a class that wait."""
        return len(self._lanes[rank].entries)

    @property
    def fullness(self) -> float:
        """From 0 to 1: of the places or of the tokens, whichever is scarcer."""
        return max(len(self) / self._places, self.tokens() / self._tokens)

    @property
    def rows(self) -> int:
        """Rows that wait."""
        return sum(lane.waiting for lane in self._lanes)

    def __iter__(self) -> Iterator[E]:
        return (entry for lane in self._lanes for entry in lane.entries)

    def tokens(self, rank: int | None = None) -> int:
        """Tokens that wait, those of the rank and better ones only if a rank is given."""
        return sum(lane.tokens for lane in self._lanes if rank is None or lane.rank <= rank)

    def own_tokens(self, rank: int) -> int:
        """Tokens of a class that wait."""
        return self._lanes[rank].tokens

    def victims(self, rank: int, tokens: int) -> list[E]:
        """Who must go so that a request can wait: of worse classes, and not begun; raises Refused."""
        if tokens > self._tokens:
            raise Refused("too_large")
        own = self._lanes[rank]
        part = 2 if own.sheddable else 1
        over_places = len(self) + 1 - max(1, self._places // part)
        over_tokens = self.tokens() + tokens - self._tokens // part if len(self) else 0
        if own.sheddable and max(over_places, over_tokens) > 0:
            raise Refused("shed")
        chosen: list[E] = []
        for lane in sorted(self._lanes, key=lambda lane: lane.badness, reverse=True):
            for entry in reversed(lane.entries) if lane.badness > own.badness else ():
                if max(over_places, over_tokens) <= 0:
                    return chosen
                if not entry.begun:
                    chosen.append(entry)
                    over_places, over_tokens = over_places - 1, over_tokens - entry.tokens
        if max(over_places, over_tokens) > 0:
            raise Refused("queue_full")
        return chosen

    def add(self, entry: E) -> list[E]:
        """Wait behind those of the same class; gives those who had to go, or raises Refused."""
        victims = self.victims(entry.rank, entry.tokens)
        for victim in victims:
            self.remove(victim)
        lane = self._lanes[entry.rank]
        if not lane.entries:
            lane.had, lane.lacks, lane.passed = max(lane.had, self._floor), 0.0, 0
        if entry.waiting:
            self._join(entry)
            self._soonest = min(self._soonest, math.inf if entry.deadline is None else entry.deadline)
        return victims

    def _join(self, entry: E) -> None:
        lane = self._lanes[entry.rank]
        lane.entries[entry] = None
        lane.tokens, lane.waiting = lane.tokens + entry.tokens, lane.waiting + len(entry.waiting)

    def remove(self, entry: E) -> bool:
        """Give up a place; whether there was one."""
        lane = self._lanes[entry.rank]
        if entry not in lane.entries:
            return False
        if entry is lane.head:
            lane.passed = 0
        del lane.entries[entry]
        lane.tokens, lane.waiting = lane.tokens - entry.tokens, lane.waiting - len(entry.waiting)
        return True

    def expire(self, now: float) -> list[E]:
        """Remove those whose deadline has passed."""
        if now < self._soonest:
            return []
        late = [entry for entry in self if entry.deadline is not None and entry.deadline <= now]
        for entry in late:
            self.remove(entry)
        self._soonest = min((entry.deadline for entry in self if entry.deadline is not None), default=math.inf)
        return late

    def pick(self, rows: int, fits: Callable[[Row[E], bool], bool]) -> list[Row[E]]:
        """At most so many rows, in the order of their right to run; nothing changes before `take`.

        `fits(row, must)` says whether the row joins the batch; with `must` only what is impossible may keep it out.
        """
        picked: list[Row[E]] = []
        iterators = {lane: lane.rows() for lane in self._lanes if lane.entries}
        had = {lane: lane.had for lane in iterators}
        lacks = {lane: lane.lacks for lane in iterators}
        old = sorted((lane for lane in iterators if lane.passed >= AGE), key=lambda lane: -lane.passed)
        first: _Lane[E] | None = None  # stays the first until a row of it is picked
        for _ in range(rows * LOOK):
            if not iterators or len(picked) == rows:
                break
            must = bool(old)
            lane = old.pop(0) if old else first or min(iterators, key=lambda one: (-max(0.0, lacks[one]), had[one]))
            first = None if must else lane
            row = next(iterators[lane], None)
            if row is None:
                del iterators[lane]
                first = None
            elif fits(row, must or lacks[lane] > 0):
                picked.append(row)
                had[lane] += row.length / lane.weight
                lacks[lane] -= row.length
                first = None
        return picked

    def take(self, rows: Sequence[Row[E]]) -> None:
        """The rows leave the queue for a batch, and the classes are charged."""
        tokens = sum(row.length for row in rows)
        taken: dict[E, set[int]] = {}
        for row in rows:
            taken.setdefault(row.entry, set()).add(row.number)
        waiting = [lane for lane in self._lanes if lane.entries]
        for lane in waiting:
            own = sum(row.length for row in rows if row.entry.rank == lane.rank)
            lane.had += own / lane.weight
            lane.lacks = max(0.0, lane.lacks + lane.reserved * tokens - own)
            lane.passed = 0 if lane.head in taken else lane.passed + 1
        self._floor = max(self._floor, min((lane.had for lane in waiting), default=0.0))
        for entry, numbers in taken.items():
            lane = self._lanes[entry.rank]
            gone = sum(entry.lengths[number] for number in numbers)
            entry.waiting = [number for number in entry.waiting if number not in numbers]
            entry.tokens, lane.tokens = entry.tokens - gone, lane.tokens - gone
            lane.waiting -= len(numbers)
            if not entry.waiting:
                self.remove(entry)
