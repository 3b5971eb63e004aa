"""Whether an engine's thread is at work, for how long in all, and when it last showed that it gets on."""

import time


class Pulse:
    """Written by the engine's thread, read by others. Seconds by time.monotonic()."""

    def __init__(self) -> None:
        self._began = 0.0
        self._last: float | None = None  # None while it waits for work
        self._worked = 0.0

    def beat(self) -> None:
        """The thread goes into a step of the model: a batch, a part of a prompt, a token."""
        now = time.monotonic()
        if self._last is None:
            self._began = now
        self._last = now

    def rest(self) -> None:
        """The thread waits for work."""
        if self._last is not None:
            self._worked += time.monotonic() - self._began
            self._last = None

    @property
    def step_seconds(self) -> float:
        """How long the present step has taken so far; 0 without one."""
        last = self._last
        return 0.0 if last is None else time.monotonic() - last

    @property
    def worked_seconds(self) -> float:
        """Time at work since the start."""
        return self._worked + (0.0 if self._last is None else time.monotonic() - self._began)
