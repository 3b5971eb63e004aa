"""Which tokens the next step computes. Pure: no clock, no tensors, and the queue is the caller's.

A step holds at most `tokens` tokens of at most `sequences` sequences. First a token for each that writes, then parts of
prompts that are being read, then new ones as long as there is room: so nobody's writing waits for somebody's prompt.
Blocks are taken as they are needed. When none is left the worst gives way: it loses its blocks, keeps its tokens, and
is computed again later, from what of its beginning is then still known. A request of a better class also takes the
place of a worse one; that happens to each at most once, so that nobody is thrown out over and over.
"""

from dataclasses import dataclass

from springtide_server.engine.blocks import BlockPool
from springtide_server.engine.queue import PriorityQueue
from springtide_server.engine.sequence import Sequence
from springtide_server.engine.work import Generate, Job

PATIENCE = 8  # places given to others before one that gave way goes first


@dataclass
class StepLimits:
    """Upper bounds of a step."""

    tokens: int
    sequences: int


class Scheduler:
    """The sequences that run, and those that gave way and wait for their turn."""

    def __init__(self, queue: PriorityQueue[Job], pool: BlockPool, limits: StepLimits) -> None:
        self.queue, self.pool, self.limits = queue, pool, limits
        self.running: list[Sequence] = []
        self.preempted: list[Sequence] = []
        self.preemptions = 0
        self.prompt_tokens = self.known_tokens = 0
        self._head: Sequence | None = None  # of what is first in the queue and found no room

    @property
    def counts(self) -> tuple[int, int, int]:
        """Preemptions, tokens of prompts that began, and how many of those were in blocks already."""
        return self.preemptions, self.prompt_tokens, self.known_tokens

    def plan(self) -> list[Sequence]:
        """The sequences of the next step with `scheduled` set, those that compute one token first."""
        self._drop_cancelled()
        room = self.limits.tokens
        chosen: list[Sequence] = []
        for sequence in sorted(self.running, key=lambda one: (one.missing > 1, one.order)):
            if room and sequence in self.running and self._extend(sequence, min(sequence.missing, room)):
                chosen.append(sequence)
                room -= sequence.scheduled
        while room and (fresh := self._next()):
            self.running.append(fresh)
            self._extend(fresh, min(fresh.missing, room))
            chosen.append(fresh)
            room -= fresh.scheduled
        chosen = [one for one in chosen if one.scheduled]  # the others gave way meanwhile
        return sorted(chosen, key=lambda one: one.scheduled > 1)

    def computed(self, sequence: Sequence) -> None:
        """The step has computed the sequence's part."""
        size, before = self.pool.size, sequence.computed // self.pool.size
        sequence.computed += sequence.scheduled
        sequence.scheduled = 0
        if self.pool.share:
            for index, name in enumerate(sequence.digests(size, sequence.computed)[before:], before):
                self.pool.publish(sequence.blocks[index], name)

    def finish(self, sequence: Sequence) -> None:
        """The sequence needs nothing more."""
        if sequence in self.running:
            self.running.remove(sequence)
        self._release(sequence)

    def _drop_cancelled(self) -> None:
        for sequence in [one for one in self.running if one.job.cancelled]:
            self.finish(sequence)
        self.preempted = [one for one in self.preempted if not one.job.cancelled]

    def _extend(self, sequence: Sequence, tokens: int) -> bool:
        """Schedule so many tokens more; whether there were blocks for them, or the sequence gave way itself."""
        needed = self.pool.blocks(sequence.computed + tokens) - len(sequence.blocks)
        while needed > self.pool.free:
            worst = max(self.running, key=lambda one: one.order)
            self._preempt(worst)
            if worst is sequence:
                return False
        sequence.blocks += self.pool.allocate(max(0, needed))
        sequence.scheduled = tokens
        return True

    def _next(self) -> Sequence | None:
        """One that may begin now: it has a place, and there are blocks for all its tokens so far and one more."""
        rows = self.queue.pick(1, lambda row, must: True)
        back = min(self.preempted, key=lambda one: (one.passed < PATIENCE, one.order), default=None)
        if back is not None and (not rows or back.passed >= PATIENCE or back.job.rank <= rows[0].entry.rank):
            if not self._enters(back):
                return None
            self.preempted.remove(back)
            back.passed = 0
            return back
        if not rows:
            return None
        if self._head is None or self._head.job is not rows[0].entry:
            self._head = _sequence(rows[0].entry)
        sequence = self._head
        if not self._enters(sequence):
            return None
        self.queue.take(rows)
        self.prompt_tokens += len(sequence.tokens)
        self.known_tokens += sequence.computed
        for waiting in self.preempted:
            waiting.passed += 1
        return sequence

    def _enters(self, sequence: Sequence) -> bool:
        """Whether there is room; then the sequence holds what is known of it."""
        names = sequence.digests(self.pool.size, len(sequence.tokens) - 1) if self.pool.share else []
        sequence.blocks = self.pool.find(names)
        sequence.computed = len(sequence.blocks) * self.pool.size
        needed = self.pool.blocks(len(sequence.tokens) + 1) - len(sequence.blocks)
        if self._make_room(sequence.job.rank, needed):
            return True
        self._release(sequence)
        return False

    def _make_room(self, rank: int, blocks: int) -> bool:
        """Have a place and so many blocks free; worse classes give way, but only if that is enough."""
        victims: list[Sequence] = []
        places, free = self.limits.sequences - len(self.running), self.pool.free
        for one in sorted(self.running, key=lambda one: one.order, reverse=True):
            if (places > 0 and free >= blocks) or one.job.rank <= rank:
                break
            if not one.displaced:
                victims.append(one)
                places, free = places + 1, free + len(one.blocks)
        if places <= 0 or free < blocks:
            return False
        for victim in victims:
            victim.displaced = True
            self._preempt(victim)
        return self.pool.free >= blocks  # what several held is not free yet

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._release(sequence)
        sequence.computed = sequence.scheduled = 0
        self.preempted.append(sequence)
        self.preemptions += 1

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks = []


def _sequence(job: Job) -> Sequence:
    if not isinstance(job.request, Generate):
        raise TypeError(f"{type(job.request).__name__} is not for this engine")
    return Sequence(job, job.request)
