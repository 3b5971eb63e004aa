"""Where requests wait for the engine: bounded, first come first served."""

import threading
from collections import deque

from springtide_server.engine.work import Job


class QueueFull(Exception):
    """No place is left."""


class JobQueue:
    """Jobs between the event loop, which puts and removes, and one engine thread, which takes."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def full(self) -> bool:
        """Whether `put` would raise."""
        return len(self._jobs) >= self._places

    def put(self, job: Job) -> None:
        """Wait behind the others; raises QueueFull."""
        with self._changed:
            if self.full:
                raise QueueFull
            self._jobs.append(job)
            self._changed.notify()

    def take(self) -> Job:
        """The job that waited longest; blocks until there is one."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs)
            return self._jobs.popleft()

    def remove(self, job: Job) -> None:
        """Give up a place; nothing happens when the job has left the queue."""
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
