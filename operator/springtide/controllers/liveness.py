"""Whether the operator still hears of the cluster."""

import time
from collections.abc import Callable, Sequence

from springtide.clients.cluster import Kind

PERIOD_SECONDS = 180.0
# Comparisons come every 1.2 periods at most, so four of them in a row have failed or none has ended. An API server
# that is away for a few minutes is no reason to start again: that would not bring it back.
_SILENT_PERIODS = 5.0
# One comparison has failed, or not ended in time.
_LATE_PERIODS = 2.0
# So many comparisons did a watch's work, and it told nothing meanwhile: it is dead, and starting again revives it.
_DEAF_COMPARISONS = 3


class Liveness:
    """When each kind was last heard of, by an event of its watch or by a LIST; and whether the watch tells all.

    A watch without events is nothing bad where nothing happens; with failing LISTs as well, the operator is blind.
    """

    def __init__(
        self, kinds: Sequence[Kind], clock: Callable[[], float] = time.monotonic, period: float = PERIOD_SECONDS
    ) -> None:
        self._clock = clock
        self._period = period
        self._heard = dict.fromkeys(kinds, clock())
        self._missed = dict.fromkeys(kinds, 0)
        self._behind: set[Kind] = set()

    def begin(self) -> None:
        """Count from now on: before, nothing was watched."""
        self._heard = dict.fromkeys(self._heard, self._clock())

    def heard(self, kind: Kind) -> None:
        """Take note of a LIST that was read."""
        self._heard[kind] = self._clock()

    def told(self, kind: Kind) -> None:
        """Take note of an event."""
        self.heard(kind)
        self._missed[kind] = 0
        self._behind.discard(kind)

    def compared(self, kind: Kind, missed: int) -> None:
        """Take note of a comparison, and of how many objects it found of which the watch had not told."""
        self.heard(kind)
        if missed:
            self._missed[kind] += 1
            self._behind.add(kind)
        else:
            self._behind.discard(kind)

    def dead(self) -> str:
        """Return why the operator should start again; empty when it should not."""
        deaf = [kind for kind, missed in self._missed.items() if missed >= _DEAF_COMPARISONS]
        return self._silent(_SILENT_PERIODS) or (
            f"{_DEAF_COMPARISONS} comparisons found changes that the watches did not tell of: {_names(deaf)}"
            if deaf
            else ""
        )

    def blind(self) -> str:
        """Return why what the operator knows may be old; empty when it is not."""
        return self._silent(_LATE_PERIODS) or (
            f"the last comparison found changes that the watches did not tell of: {_names(list(self._behind))}"
            if self._behind
            else ""
        )

    def _silent(self, periods: float) -> str:
        limit, now = self._period * periods, self._clock()
        silent = [kind for kind, heard in self._heard.items() if now - heard > limit]
        return f"no watch event and no complete LIST for {limit:.0f} seconds of: {_names(silent)}" if silent else ""


def _names(kinds: Sequence[Kind]) -> str:
    return ", ".join(kind.kind for kind in kinds)
