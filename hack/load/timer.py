"""A timer for the event loop that is exact to some 50 microseconds: asyncio's own rounds up to a millisecond."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Callable

_CLOCK_MONOTONIC = 1  # what time.monotonic() and the loop's time() read
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Timer:
    """Calls back at a time of the monotonic clock: Linux' timerfd, which Python offers from 3.13 only."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._file = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._file < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._fire)

    def at(self, time: float) -> None:
        """Call back at that time, at once where it is over. A time set before is forgotten."""
        nanoseconds = max(1, int(time * 1e9))
        setting = _Setting(_Timespec(0, 0), _Timespec(*divmod(nanoseconds, 10**9)))
        if self._libc.timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(setting), None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def close(self) -> None:
        """Never call back again."""
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _fire(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the time was set anew just now
            os.read(self._file, 8)
            self._callback()
