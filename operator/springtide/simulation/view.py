"""What a policy sees while it is simulated: metrics as old as a scrape, and the replicas as they are."""

import numpy as np
from numpy.typing import NDArray

from springtide.simulation.fleet import Fleet

STEP = 5
SCRAPE = 15
# How long a request is in service, which metrics of concurrency show: seconds.
SERVICE = 4.0


class View:
    """The service at `now`, in seconds since the trace began."""

    def __init__(self, arrivals: NDArray[np.int64], fleet: Fleet, rate: float) -> None:
        steps = arrivals.reshape(-1, STEP).sum(axis=1)
        self._came = np.concatenate(([0], np.cumsum(steps))).tolist()
        self._queues: list[float] = []
        self._busy: list[float] = []
        self._fleet = fleet
        self.rate_of_one = rate
        self.now = 0
        self.target = fleet.created

    def record(self, queue: float, served: float) -> None:
        """Keep what a step ended with: the requests that wait, and how many were served in it."""
        self._queues.append(queue)
        self._busy.append(served / STEP * SERVICE + queue)

    @property
    def ready(self) -> int:
        """The replicas that are Ready."""
        return self._fleet.ready

    @property
    def loading(self) -> tuple[float, ...]:
        """The ages in seconds of those that are not Ready."""
        return self._fleet.loading(self.now)

    @property
    def ready_seconds(self) -> tuple[float, float]:
        """The measured time to Ready, p50 and p95 in seconds, NaN while unknown."""
        return self._fleet.ready_seconds()

    def rate(self, window: int, lag: int = SCRAPE) -> float:
        """Return the mean arrivals a second of `window` seconds that ended `lag` seconds ago; NaN before the trace."""
        end = (self.now - lag) // STEP
        start = end - window // STEP
        return float((self._came[end] - self._came[start]) / window) if start >= 0 else float("nan")

    def queue(self, lag: int = SCRAPE) -> float:
        """Return the requests that waited `lag` seconds ago."""
        index = (self.now - lag) // STEP - 1
        return self._queues[index] if index >= 0 else 0.0

    def concurrency(self, window: int, lag: int = STEP) -> float:
        """Return the mean of the requests that waited or were served, over `window` seconds."""
        end = (self.now - lag) // STEP
        seen = self._busy[max(end - window // STEP, 0) : max(end, 0)]
        return sum(seen) / len(seen) if seen else 0.0
