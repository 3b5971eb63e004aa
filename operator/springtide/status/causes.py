"""Why a pool's pods don't serve, read from the pods: a chain of small checks, the first that speaks wins."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from springtide.manifests.delivery import FETCHER
from springtide.manifests.revisions import PoolPlan
from springtide.status.observed import ObservedContainer, ObservedDeployment, ObservedPod

_LONGEST = 600


@dataclass(frozen=True)
class Cause:
    """A reason for programs and a message for people."""

    reason: str
    message: str


def find_cause(plan: PoolPlan, deployment: ObservedDeployment | None, pods: Iterable[ObservedPod]) -> Cause | None:
    """Return what keeps the pool's pods from serving; None when nothing is known to be wrong."""
    waiting = [pod for pod in pods if not pod.ready and not pod.deleting]
    # Check by check, not pod by pod: a missing image says more than a pod that waits for room beside it.
    for check in _POD_CHECKS:
        for pod in waiting:
            if (cause := check(plan, pod)) is not None:
                return Cause(cause.reason, _shortened(f"pod {pod.name}: {cause.message}"))
    if deployment is not None and deployment.failure:
        message = f"pool {plan.pool.name}: pods can't be created: {deployment.failure}"
        return Cause("PodsRefused", _shortened(message))
    if deployment is not None and deployment.stuck:
        return Cause("ProgressDeadlineExceeded", _shortened(f"pool {plan.pool.name}: {deployment.stuck}"))
    return None


def _image(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    for container in pod.containers:
        if container.waiting_reason not in _PULL_REASONS:
            continue
        detail = container.waiting_message or container.waiting_reason
        # The kubelet reports a failed image volume as a failed pull of the container; only the name in it tells which.
        if _is_model(detail, plan):
            return Cause(
                "ModelPullFailed",
                f"the model image {plan.model_image} can't be pulled; check spec.model and that nodes may pull it: "
                f"{detail}",
            )
        return Cause(
            "ImagePullFailed",
            f"the image {plan.image} can't be pulled; check spec.runtime.image and that nodes may pull it: {detail}",
        )
    return None


def _is_model(message: str, plan: PoolPlan) -> bool:
    if not plan.model_image:
        return False
    if plan.model_image in message:
        return True
    # Container runtimes may write a name in full (docker.io/library/NAME:latest), so its last part must do.
    return plan.image not in message and plan.model_image.split("@")[0].rsplit("/", 1)[-1] in message


def _config(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    for container in pod.containers:
        if container.waiting_reason in _CONFIG_REASONS:
            return Cause(container.waiting_reason, f"the container can't be made: {container.waiting_message}")
    return None


def _out_of_memory(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    limit = plan.pool.limits.get("memory", "the node's")
    for container in pod.containers:
        if container.ended_reason == "OOMKilled":
            return Cause(
                "OOMKilled",
                f"the server was killed {container.restarts + _just_ended(container)} time(s) for exceeding its memory "
                f"({limit}); raise spec.pools[{plan.pool.name}].resources.limits.memory or serve a smaller model",
            )
    return None


def _fetch(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    for container in pod.containers:
        if container.name == FETCHER and container.exit_code not in (None, 0):
            return Cause("ModelFetchFailed", f"{plan.pool.model.uri} can't be fetched: {_last_line(container)}")
    return None


def _crash(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    for container in pod.containers:
        failed = container.exit_code not in (None, 0) or container.waiting_reason == "CrashLoopBackOff"
        if not failed:
            continue
        reason = container.waiting_reason or "Crashed"
        return Cause(reason, f"the server ended with exit code {container.exit_code}: {_last_line(container)}")
    return None


def _last_line(container: ObservedContainer) -> str:
    lines = [line.strip() for line in container.ended_message.splitlines() if line.strip()]
    return lines[-1] if lines else "it wrote nothing"


def _claim(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    message = pod.unscheduled_message
    if "persistentvolumeclaim" in message.lower() and "not found" in message:
        return Cause("ClaimNotFound", f"a PersistentVolumeClaim is missing in this namespace; create it: {message}")
    return None


def _unschedulable(plan: PoolPlan, pod: ObservedPod) -> Cause | None:
    if not pod.unscheduled_message:
        return None
    return Cause(
        "Unschedulable",
        f"no node fits; lower spec.pools[{plan.pool.name}].resources.requests, change its nodeSelector or add a node: "
        f"{pod.unscheduled_message}",
    )


def _just_ended(container: ObservedContainer) -> int:
    return 0 if container.waiting_reason else 1


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"


_PULL_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_POD_CHECKS: tuple[Callable[[PoolPlan, ObservedPod], Cause | None], ...] = (
    _image,
    _config,
    _out_of_memory,
    _fetch,
    _crash,
    _claim,
    _unschedulable,
)
