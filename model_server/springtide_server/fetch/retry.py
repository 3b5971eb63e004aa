"""How often something is tried, and how long is waited in between. For both sources the same."""

import logging
import random
from collections.abc import Callable
from threading import Event
from typing import TypeVar

from springtide_server.fetch.errors import Transient, Unavailable

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0
LONGEST_RETRY_AFTER = 300.0  # the hub counts requests over five minutes
T = TypeVar("T")
log = logging.getLogger(__name__)


class Stopped(Exception):
    """Another thread has failed: what this one does is of no use any more."""


class Tries:
    """The tries of one thing; once all are used up, `failed` raises Unavailable."""

    def __init__(self, what: str, attempts: int, stop: Event) -> None:
        self._what, self._attempts, self._stop, self._failures = what, attempts, stop, 0

    def progressed(self) -> None:
        """Bytes have come: what failed before doesn't count any more."""
        self._failures = 0

    def failed(self, error: Transient) -> None:
        """Wait until it is time for the next try."""
        self._failures += 1
        if self._failures >= self._attempts:
            raise Unavailable(f"{self._what}: {error}; tried {self._failures} times") from None
        if (asked := error.retry_after or 0) > LONGEST_RETRY_AFTER:
            raise Unavailable(f"{self._what}: {error}; it asks to wait {asked:.0f} s") from None
        # The jitter keeps pods that failed together from coming back together.
        grown = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self._failures - 1)) * random.uniform(0.5, 1)  # noqa: S311
        seconds = max(grown, asked + random.random() / 2 if asked else 0)  # noqa: S311
        log.warning(
            f"{self._what}: {error}; trying again in {seconds:.1f} s",
            extra={"fields": {"attempt": self._failures, "attempts": self._attempts}},
        )
        if self._stop.wait(seconds):
            raise Stopped

    def call(self, action: Callable[[], T]) -> T:
        """The action's result, after as many tries as it takes."""
        while True:
            try:
                return action()
            except Transient as error:
                self.failed(error)
