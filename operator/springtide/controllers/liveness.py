"""Whether the operator still hears of the cluster."""

import time
from collections.abc import Callable, Sequence

from springtide.clients.cluster import Kind

# Comparisons come every 216 seconds at most, so four of them in a row have failed or none has ended. An API server
# that is away for a few minutes is no reason to start again: that would not bring it back.
SILENT_SECONDS = 900.0


class Liveness:
    """When each kind was last heard of: by an event of its watch, or by a LIST that was read to its end.

    A watch without events is nothing bad where nothing happens; with failing LISTs as well, the operator is blind.
    """

    def __init__(self, kinds: Sequence[Kind], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard = dict.fromkeys(kinds, clock())

    def begin(self) -> None:
        """Count from now on: before, nothing was watched."""
        self._heard = dict.fromkeys(self._heard, self._clock())

    def heard(self, kind: Kind) -> None:
        """Take note of an event, or of a LIST that was read."""
        self._heard[kind] = self._clock()

    def silent(self) -> str:
        """Return which kinds are silent; empty when none is."""
        now = self._clock()
        silent = [kind.kind for kind, heard in self._heard.items() if now - heard > SILENT_SECONDS]
        if not silent:
            return ""
        return f"no watch event and no complete LIST for {SILENT_SECONDS / 60:.0f} minutes of: {', '.join(silent)}"
