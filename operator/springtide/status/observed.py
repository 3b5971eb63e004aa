"""What a status is computed from: live objects reduced to the few fields that matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
    """A pod of a pool."""

    name: str
    pool: str
    online: bool
    owner: str = ""
    ready: bool = False
    deleting: bool = False
    node: str = ""
    unscheduled_message: str = ""
    containers: tuple[ObservedContainer, ...] = ()


@dataclass(frozen=True)
class ObservedDeployment:
    """A Deployment as its controller last reported it."""

    generation: int = 0
    observed_generation: int = 0
    replicas: int = 0
    ready: int = 0
    updated: int = 0
    available: int = 0
    failure: str = ""
    stuck: str = ""


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
    )


def observe_pod(live: Mapping[str, Any], *, pool_label: str, online_label: str) -> ObservedPod:
    """Reduce a live pod."""
    labels = live["metadata"].get("labels", {})
    status = live.get("status", {})
    conditions = {one["type"]: one for one in status.get("conditions", ())}
    scheduled = conditions.get("PodScheduled", {})
    return ObservedPod(
        name=live["metadata"]["name"],
        pool=labels.get(pool_label, ""),
        online=labels.get(online_label) == "true",
        owner=next((one["name"] for one in live["metadata"].get("ownerReferences", ()) if one.get("controller")), ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        deleting="deletionTimestamp" in live["metadata"],
        node=live.get("spec", {}).get("nodeName", ""),
        unscheduled_message=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        containers=tuple(
            _container(one) for group in ("initContainerStatuses", "containerStatuses") for one in status.get(group, ())
        ),
    )


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
