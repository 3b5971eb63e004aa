"""Other autoscalers as policies, each as its documentation says and with its defaults."""

from collections import deque
from math import ceil, floor

from springtide.simulation.view import SCRAPE, SERVICE, STEP, View


class HorizontalPodAutoscaler:
    """Kubernetes' autoscaling/v2 on an external metric: arrivals, and what waits spread over a minute, per replica.

    desired = ⌈metric / (target · what a replica serves)⌉, ten percent of tolerance, the largest desired of five minutes
    before anything is removed, at most the double or four more every 15 s.
    """

    tick = 15

    def __init__(self, target: float = 0.7, window: int = 300, tolerance: float = 0.1) -> None:
        self._target, self._window, self._tolerance = target, window, tolerance
        self._recent: deque[tuple[int, int]] = deque()

    def decide(self, view: View) -> int:
        """Return the target."""
        metric = view.rate(60) + view.queue() / 60
        current = view.target
        if metric != metric:
            return current
        ratio = metric / (self._target * view.rate_of_one * max(current, 1))
        desired = current if abs(ratio - 1) <= self._tolerance else ceil(metric / (self._target * view.rate_of_one))
        self._recent.append((view.now, desired))
        while self._recent[0][0] <= view.now - self._window:
            self._recent.popleft()
        if desired > current:
            return min(desired, max(2 * current, current + 4))
        return min(max(one for _, one in self._recent), current)


class KnativePodAutoscaler:
    """Knative's KPA: mean concurrency over 60 s by 70 % of what a replica takes, and a panic window a tenth as long."""

    tick = STEP

    def __init__(self, target: float = 0.7) -> None:
        self._target = target
        self._panicked = -1
        self._most = 0

    def decide(self, view: View) -> int:
        """Return the target."""
        one = self._target * view.rate_of_one * SERVICE
        ready = max(view.ready, 1)
        stable, panic = ceil(view.concurrency(60) / one), ceil(view.concurrency(STEP) / one)
        lowest, highest = floor(ready / 2), 1000 * ready
        stable, panic = (min(max(wanted, lowest), highest) for wanted in (stable, panic))
        if panic / ready >= 2:
            if self._panicked < 0:
                self._most = 0
            self._panicked = view.now
        elif self._panicked >= 0 and view.now - self._panicked >= 60:
            self._panicked = -1
        if self._panicked < 0:
            return max(stable, 1)
        self._most = max(self._most, stable, panic)
        return self._most


class DynamoPlanner:
    """NVIDIA Dynamo's planner: every 180 s a floor for the requests that a Kalman filter predicts, every 5 s one more
    or less.

    The filter is their local linear trend with q 1 and 0.1 and r 10, started when five intervals were seen. The load
    loop adds a replica when waits exceed the objective and removes one when the others stay below 80 %; it rests while
    any replica loads. `use` is the share of what a replica serves that its profile has it serve within the objective.
    """

    tick = 5
    _INTERVAL = 180

    def __init__(self, slo: float, use: float = 1.0) -> None:
        self._slo, self._use = slo, use
        self._level, self._trend = 0.0, 0.0
        self._p = [[1e3, 0.0], [0.0, 1e3]]
        self._seen = 0
        self._floor = 1

    def decide(self, view: View) -> int:
        """Return the target."""
        if view.now % self._INTERVAL == SCRAPE and view.now > self._INTERVAL:
            predicted = self._filtered(view.rate(self._INTERVAL) * self._INTERVAL)
            self._floor = max(ceil(predicted / self._INTERVAL / (self._use * view.rate_of_one)), 1)
        target = max(view.target, self._floor)
        if view.loading or not view.ready:
            return target
        wait = view.queue() / (view.ready * view.rate_of_one)
        if wait > self._slo:
            return target + 1
        load = view.rate(30)
        if load < 0.8 * (view.ready - 1) * view.rate_of_one and wait < 0.8 * self._slo:
            return max(target - 1, self._floor)
        return target

    def _filtered(self, count: float) -> float:
        """Return the next interval's requests."""
        self._seen += 1
        if self._seen == 1:
            self._level = count
        (a, b), (c, d) = self._p
        level, trend = self._level + self._trend, self._trend
        a, b, c, d = a + b + c + d + 1.0, b + d, c + d, d + 0.1
        gain_level, gain_trend = a / (a + 10.0), c / (a + 10.0)
        error = count - level
        self._level, self._trend = level + gain_level * error, trend + gain_trend * error
        self._p = [[a - gain_level * a, b - gain_level * b], [c - gain_trend * a, d - gain_trend * b]]
        return max(self._level + self._trend, 0.0) if self._seen >= 5 else count


class Static:
    """The same number at all times."""

    tick = 15

    def __init__(self, count: int) -> None:
        self._count = count

    def decide(self, view: View) -> int:
        """Return the target."""
        return self._count
