"""The conditions of a ModelService, each a chain of checks of which the first that speaks wins."""

from collections.abc import Sequence
from dataclasses import dataclass

from springtide.api.errors import Silent, SpringtideError, Unavailable
from springtide.manifests.resolve import ResolvedPool
from springtide.manifests.revisions import PoolPlan
from springtide.status.causes import Cause, find_cause
from springtide.status.observed import ObservedDeployment, ObservedPod

# Nothing that the operator or Kubernetes does by itself will help against these.
_STALLING = {"InvalidSpec", "NameConflict", "Forbidden", "ReferenceNotFound", "ProgressDeadlineExceeded"}

_STOPPED = "ScaledToZero"


@dataclass(frozen=True)
class Finding:
    """A condition before it has its times."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class PoolView:
    """A pool as wanted beside what is seen of it."""

    plan: PoolPlan
    deployment: ObservedDeployment | None
    pods: Sequence[ObservedPod]

    @property
    def wanted(self) -> ResolvedPool:
        """What is asked for."""
        return self.plan.pool

    @property
    def seen(self) -> ObservedDeployment:
        """The Deployment, or an empty one where there is none yet."""
        return self.deployment or ObservedDeployment()

    @property
    def complete(self) -> bool:
        """Whether every wanted replica is ready and of the newest revision, and no older one is left."""
        seen = self.seen
        current = self.deployment is not None and seen.observed_generation >= seen.generation
        counts = (seen.replicas, seen.updated, seen.ready, seen.available)
        return current and all(count == self.wanted.replicas for count in counts)

    @property
    def cause(self) -> Cause | None:
        """What keeps the pool's pods from serving."""
        return find_cause(self.plan, self.deployment, self.pods)


def accepted(error: SpringtideError | None, unheeded: str = "") -> Finding:
    """Accepted: the spec is valid, its children could be written and what it refers to is there.

    `unheeded` names what pods can't act on; empty when there is nothing of that.
    """
    if error is None:
        done = "the spec is valid and its objects are in place"
        return Finding("Accepted", "True", "Accepted", f"{done}; {unheeded}" if unheeded else done)
    if isinstance(error, Unavailable) or error.reason in {"InternalError", "Conflict"}:
        return Finding("Accepted", "Unknown", error.reason, str(error))
    return Finding("Accepted", "False", error.reason, str(error))


def available(pools: Sequence[PoolView], silence: str = "") -> Finding:
    """Available: at least one pod that the Service sends requests to is ready, and the Service answers.

    Pods are ready once their server has loaded the model. `silence` is why the Service does not answer; empty when it
    does, or when it can't be asked because the operator runs outside the cluster. Without a Realtime or Fallback pool
    the pods of Offline pools count, and the Service of the first one.
    """
    serving = [pool for pool in pools if pool.wanted.online] or list(pools)
    answering = _answering([pod for pool in serving for pod in pool.pods], silence)
    if answering is not None:
        return answering
    if all(pool.wanted.replicas == 0 for pool in serving):
        return Finding("Available", "False", _STOPPED, "spec.replicas is 0, so no replica runs; raise it to serve")
    for pool in serving:
        if pool.cause is not None:
            return Finding("Available", "False", pool.cause.reason, pool.cause.message)
    return Finding("Available", "False", "Starting", "no replica is ready yet")


def still_available(pods: Sequence[ObservedPod], silence: str, reason: str) -> Finding:
    """Available, for a spec that can't be acted on: what ran before it may well serve on."""
    serving = [pod for pod in pods if pod.online] or list(pods)
    nothing = Finding("Available", "False", reason, "no replica is ready, and the spec can't be acted on")
    return _answering(serving, silence) or nothing


def _answering(pods: Sequence[ObservedPod], silence: str) -> Finding | None:
    """Return whether the pods answer, None when none is ready."""
    ready = sum(pod.ready and not pod.deleting for pod in pods)
    if not ready:
        return None
    if not silence:
        return Finding("Available", "True", "ReplicasReady", f"{ready} replica(s) answer")
    message = (
        f"{ready} replica(s) are ready, but {silence}; check that their nodes are reachable and that no "
        "NetworkPolicy keeps the operator out"
    )
    return Finding("Available", "False", Silent.reason, message)


def ready(accepted: Finding, available: Finding, pools: Sequence[PoolView]) -> Finding:
    """Ready: what is asked for is there.

    That is: Available, and every pool has all its replicas of the newest revision and none of an older one; or no
    replica, where none is wanted.
    """
    if accepted.status != "True":
        status = "False" if accepted.status == "False" else "Unknown"
        return Finding("Ready", status, accepted.reason, accepted.message)
    stopped = available.reason == _STOPPED
    if available.status != "True" and not stopped:
        return Finding("Ready", available.status, available.reason, available.message)
    for pool in pools:
        if not pool.complete:
            cause = pool.cause
            if cause is not None:
                return Finding("Ready", "False", cause.reason, cause.message)
            seen, wanted = pool.seen, pool.wanted
            message = (
                f"pool {wanted.name}: {seen.ready} of {wanted.replicas} replicas are ready, "
                f"{seen.updated} are of the newest revision"
            )
            return Finding("Ready", "False", "Progressing", message)
    if stopped:
        return Finding("Ready", "True", _STOPPED, available.message)
    return Finding("Ready", "True", "Ready", "every pool has all its replicas, of the newest revision")


def progress(ready: Finding, pools: Sequence[PoolView] = ()) -> list[Finding]:
    """Reconciling or Stalled, as kstatus reads them: there only while they are True."""
    if ready.status == "True":
        return []
    if ready.reason in _STALLING or any(pool.seen.stuck for pool in pools):
        return [Finding("Stalled", "True", ready.reason, ready.message)]
    return [Finding("Reconciling", "True", ready.reason, ready.message)]
