"""The replicas of a pool under a fake clock: they start, load, may fail, serve, and drain."""

from math import log, nan

import numpy as np

FAILED = 0.02
DRAIN = 5.0
# p95 of a lognormal is 1.5 times its median.
_SIGMA = log(1.5) / 1.6448536
_FEWEST = 10
_REMEMBERED = 100


class Fleet:
    """Replicas of which each becomes Ready some time after its creation and costs from then on until it is gone."""

    def __init__(self, cold_start: float, ready: int, random: np.random.Generator) -> None:
        self.ready = ready
        self.removed_while_loading = 0
        self._cold_start = cold_start
        self._random = random
        self._loading: list[tuple[float, float]] = []
        self._times: list[float] = []
        self._draining: list[float] = []

    @property
    def created(self) -> int:
        """The replicas that are wanted, ready or not."""
        return self.ready + len(self._loading)

    @property
    def existing(self) -> int:
        """What is paid for: those that drain, too."""
        return self.created + len(self._draining)

    def loading(self, now: float) -> tuple[float, ...]:
        """Return the ages in seconds of those that are not Ready yet."""
        return tuple(now - born for born, _ in self._loading)

    def ready_seconds(self) -> tuple[float, float]:
        """Return the time to Ready of the last starts, p50 and p95 in seconds; NaN while there were too few."""
        times = sorted(self._times[-_REMEMBERED:])
        if len(times) < _FEWEST:
            return nan, nan
        return times[len(times) // 2], times[int(0.95 * len(times))]

    def advance(self, now: float) -> None:
        """Let time pass until `now`."""
        if self._loading:
            still = [one for one in self._loading if one[1] > now]
            self._times += [at - born for born, at in self._loading if at <= now]
            self.ready += len(self._loading) - len(still)
            self._loading = still
        if self._draining:
            self._draining = [gone for gone in self._draining if gone > now]

    def scale(self, target: int, now: float) -> int:
        """Create or remove replicas and return how many; of two Kubernetes removes the one that is not Ready."""
        change = target - self.created
        for _ in range(change):
            self._loading.append((now, now + self._time_to_ready()))
        for _ in range(-change):
            if self._loading:
                self._loading.pop()
                self.removed_while_loading += 1
            else:
                self.ready -= 1
                self._draining.append(now + DRAIN)
        return abs(change)

    def _time_to_ready(self) -> float:
        seconds = self._cold_start * float(np.exp(_SIGMA * self._random.standard_normal()))
        # One that fails at its end is started once more in its place.
        return seconds + (self._time_to_ready() if self._random.random() < FAILED else 0.0)
