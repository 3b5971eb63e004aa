"""What a status is computed from: live objects reduced to the few fields that matter."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import nan
from typing import Any

from pydantic import ValidationError

from springtide.api.problems import summary
from springtide.api.time import unix_seconds
from springtide.api.trafficforecast import TrafficForecast
from springtide.scaling.statements import Statement, statement
from springtide.signals.starts import Start, read_start


@dataclass(frozen=True)
class ObservedContainer:
    """A container of a pod that does not run, or did not."""

    name: str = ""
    waiting_reason: str = ""
    waiting_message: str = ""
    restarts: int = 0
    ended_reason: str = ""
    ended_message: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class ObservedPod:
    """A pod of a pool. `created` and `ready_since` are in Unix seconds; `start` is known once it has been ready."""

    name: str
    pool: str
    online: bool
    owner: str = ""
    ready: bool = False
    deleting: bool = False
    unscheduled_message: str = ""
    created: float = nan
    ready_since: float = nan
    start: Start | None = None
    containers: tuple[ObservedContainer, ...] = ()


@dataclass(frozen=True)
class ObservedDeployment:
    """A Deployment as its controller last reported it; `target` is what it is asked for, None where it doesn't say."""

    generation: int = 0
    observed_generation: int = 0
    replicas: int = 0
    ready: int = 0
    updated: int = 0
    available: int = 0
    failure: str = ""
    stuck: str = ""
    target: int | None = None


@dataclass(frozen=True)
class ObservedForecast:
    """A TrafficForecast: what it says, None where `problem` says why it can't be read."""

    generation: int = 0
    statement: Statement | None = None
    problem: str = ""
    status: Mapping[str, Any] = field(default_factory=dict)


def observe_deployment(live: Mapping[str, Any]) -> ObservedDeployment:
    """Reduce a live Deployment."""
    status = live.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    failure = conditions.get("ReplicaFailure", {})
    progressing = conditions.get("Progressing", {})
    return ObservedDeployment(
        generation=live["metadata"].get("generation", 0),
        observed_generation=status.get("observedGeneration", 0),
        replicas=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        updated=status.get("updatedReplicas", 0),
        available=status.get("availableReplicas", 0),
        failure=failure.get("message", "") if failure.get("status") == "True" else "",
        stuck=progressing.get("message", "") if progressing.get("reason") == "ProgressDeadlineExceeded" else "",
        target=live.get("spec", {}).get("replicas"),
    )


def observe_pod(live: Mapping[str, Any], *, pool_label: str, online_label: str) -> ObservedPod:
    """Reduce a live pod."""
    labels = live["metadata"].get("labels", {})
    status = live.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    ready = conditions.get("Ready", {})
    return ObservedPod(
        name=live["metadata"]["name"],
        pool=labels.get(pool_label, ""),
        online=labels.get(online_label) == "true",
        owner=next((one["name"] for one in live["metadata"].get("ownerReferences", ()) if one.get("controller")), ""),
        ready=ready.get("status") == "True",
        deleting="deletionTimestamp" in live["metadata"],
        unscheduled_message=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        created=unix_seconds(live["metadata"].get("creationTimestamp")),
        ready_since=unix_seconds(ready.get("lastTransitionTime")) if ready.get("status") == "True" else nan,
        start=read_start(live),
        containers=tuple(
            _container(one) for group in ("initContainerStatuses", "containerStatuses") for one in status.get(group, ())
        ),
    )


def observe_forecast(live: Mapping[str, Any]) -> ObservedForecast:
    """Reduce a live TrafficForecast."""
    metadata, status = live["metadata"], live.get("status", {})
    generation = metadata.get("generation", 0)
    who = {key: metadata[key] for key in ("name", "namespace", "uid")}
    try:
        spec = TrafficForecast.model_validate({"metadata": who, "spec": live.get("spec")}).spec
    except ValidationError as error:
        # The definition in the cluster may be older or newer than this operator.
        return ObservedForecast(generation, None, summary(error), status)
    baseline = status.get("baselineMilliRequestsPerSecond")
    said = statement(
        metadata["name"],
        unix_seconds(metadata.get("creationTimestamp")),
        spec,
        nan if baseline is None else baseline / 1000,
    )
    return ObservedForecast(generation, said, "", status)


def _container(status: Mapping[str, Any]) -> ObservedContainer:
    waiting = status.get("state", {}).get("waiting", {})
    # A container that just ended is in `state`; once it is to be started again, in `lastState`.
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get("terminated") or {}
    return ObservedContainer(
        name=status.get("name", ""),
        waiting_reason=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        restarts=status.get("restartCount", 0),
        ended_reason=ended.get("reason", ""),
        ended_message=ended.get("message", ""),
        exit_code=ended.get("exitCode"),
    )
