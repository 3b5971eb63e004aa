"""How long a replica takes to become ready, by phase, from what Kubernetes says of its pod."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from springtide.api.time import unix_seconds


@dataclass(frozen=True)
class Start:
    """The seconds of each phase of a start.

    | phase | from | to |
    |---|---|---|
    | schedule | the pod is created | it has a node |
    | pull | it has a node | its last container starts: images, volumes, network, less fetch |
    | fetch | | the time of the init containers, which bring the model |
    | load | its last container starts | the model is loaded |
    | warm_up | the model is loaded | the pod is ready; 0 where the server does not tell it from the load |
    """

    schedule: float
    pull: float
    fetch: float
    load: float
    warm_up: float = 0.0

    @property
    def total(self) -> float:
        """From the pod's creation until it is ready."""
        return self.schedule + self.pull + self.fetch + self.load + self.warm_up


def read_start(pod: Mapping[str, Any], warm_up_seconds: float = 0.0) -> Start | None:
    """Return how a live pod started; None while it isn't ready, and where that can't be told.

    It can't where a container was started again, since the times are then those of the last start. A pod that lost its
    readiness and found it again shows the later time: look at a pod when it becomes ready for the first time.
    `warm_up_seconds` is what the server itself says of its warm-up. Clocks of nodes differ: a time before that of the
    phase before counts as that.
    """
    status = pod.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    inits, servers = (status.get(f"{kind}Statuses", ()) for kind in ("initContainer", "container"))
    if any(one.get("restartCount", 0) for one in (*inits, *servers)):
        return None
    created = unix_seconds(pod.get("metadata", {}).get("creationTimestamp"))
    scheduled, ready = (_since(conditions.get(name)) for name in ("PodScheduled", "Ready"))
    started = [unix_seconds(one.get("state", {}).get("running", {}).get("startedAt")) for one in servers]
    if not started or math.isnan(created + scheduled + ready + sum(started)):
        return None
    scheduled = max(scheduled, created)
    begun = max(scheduled, *started)
    ready = max(ready, begun)
    fetched = min(sum(_ran(one) for one in inits), begun - scheduled)
    warm_up = min(max(warm_up_seconds, 0.0), ready - begun)
    return Start(scheduled - created, begun - scheduled - fetched, fetched, ready - begun - warm_up, warm_up)


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the smallest value that so many percent of the values don't exceed (nearest rank); None without values."""
    ranked = sorted(values)
    if not ranked:
        return None
    return ranked[max(math.ceil(percent / 100.0 * len(ranked)), 1) - 1]


def _since(condition: Mapping[str, Any] | None) -> float:
    if condition is None or condition.get("status") != "True":
        return math.nan
    return unix_seconds(condition.get("lastTransitionTime"))


def _ran(container: Mapping[str, Any]) -> float:
    ended = container.get("state", {}).get("terminated", {})
    seconds = unix_seconds(ended.get("finishedAt")) - unix_seconds(ended.get("startedAt"))
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0
