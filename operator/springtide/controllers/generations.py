"""How long the generations of ModelServices wait until their children are applied."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from springtide.controllers.cache import Entry, Name, Written


@dataclass(frozen=True)
class _Waiting:
    """The first and the newest generation that wait, and when each was first seen."""

    first: int
    since: float
    newest: int
    newest_since: float


class Generations:
    """Tells the time from the first sight of a generation until it is applied.

    Two generations are kept of each ModelService, however often it is edited while it can't be applied.
    """

    def __init__(self, report: Callable[[float], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._seen: dict[Name, tuple[str, int]] = {}
        self._waiting: dict[Name, _Waiting] = {}

    def see(self, name: Name, entry: Entry[Written] | None) -> None:
        """Take note of a ModelService as it is now; None when it is gone."""
        if entry is None:
            self._seen.pop(name, None)
            self._waiting.pop(name, None)
            return
        uid, seen = self._seen.get(name, ("", 0))
        generation = _generation(entry)
        if uid != entry.uid:
            self._waiting.pop(name, None)
        elif generation <= seen:
            return
        self._seen[name] = (entry.uid, generation)
        if entry.value.status.get("observedGeneration", 0) >= generation:
            return  # Acted on by the operator that ran before this one.
        now = self._clock()
        waiting = self._waiting.get(name)
        first, since = (waiting.first, waiting.since) if waiting else (generation, now)
        self._waiting[name] = _Waiting(first, since, generation, now)

    def applied(self, entry: Entry[Written]) -> None:
        """Report the time that a ModelService waited which has all its children now."""
        waiting = self._waiting.get(entry.name)
        generation = _generation(entry)
        if waiting is None or self._seen[entry.name][0] != entry.uid or generation < waiting.first:
            return
        self._report(self._clock() - waiting.since)
        if generation >= waiting.newest:
            del self._waiting[entry.name]
        else:
            newest, since = waiting.newest, waiting.newest_since
            self._waiting[entry.name] = _Waiting(newest, since, newest, since)


def _generation(entry: Entry[Written]) -> int:
    return int(entry.value.metadata["generation"] or 0)
