"""Conditions and their causes."""

from collections.abc import Iterable
from typing import Any

import pytest

from springtide.api.errors import Bug, Forbidden, Invalid, NameConflict, SpringtideError
from springtide.manifests.revisions import plan_pools
from springtide.status.compute import compute_refusal, compute_status
from springtide.status.observed import ObservedDeployment, ObservedPod, observe_deployment, observe_pod
from tests.unit.samples import SETTINGS, model_service

MODEL = "registry.example.com/models/chat:v1"
NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:05:00Z"
COMPLETE = ObservedDeployment(4, 4, replicas=1, ready=1, updated=1, available=1)
READY_POD = ObservedPod("chat-cpu-x", "cpu", online=True, ready=True)


def status(
    deployment: ObservedDeployment | None = COMPLETE,
    pods: Iterable[ObservedPod] = (READY_POD,),
    error: SpringtideError | None = None,
    previous: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    now: str = NOW,
    silence: str = "",
) -> dict[str, Any]:
    deployments = {"cpu": deployment} if deployment else {}
    service = model_service(spec)
    plans = plan_pools(service, SETTINGS)
    return compute_status(service, plans, deployments, pods, error, previous or {}, now, silence)


def conditions(made: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in made["conditions"]}


def message(made: dict[str, Any], kind: str = "Ready") -> str:
    return next(str(one["message"]) for one in made["conditions"] if one["type"] == kind)


def pod(**status: Any) -> ObservedPod:
    """A pod as the API server shows it."""
    labels = {"springtide.dev/pool": "cpu", "springtide.dev/online": "true"}
    live = {"metadata": {"name": "chat-cpu-x", "labels": labels}, "status": status}
    return observe_pod(live, pool_label="springtide.dev/pool", online_label="springtide.dev/online")


def waiting(why: str, text: str = "", **ended: Any) -> ObservedPod:
    container = {"name": "model-server", "restartCount": 4, "state": {"waiting": {"reason": why, "message": text}}}
    if ended:
        container["lastState"] = {"terminated": ended}
    return pod(containerStatuses=[container])


def test_ready_pods_that_nobody_reaches_are_not_available() -> None:
    made = status(silence="http://chat.team-a.svc does not answer: no answer within 2 s")
    assert conditions(made)["Available"] == conditions(made)["Ready"] == ("False", "RouteNotAnswering")
    assert "1 replica(s) are ready, but http://chat.team-a.svc does not answer" in message(made)


def test_ready() -> None:
    made = status()
    assert conditions(made) == {
        "Accepted": ("True", "Accepted"),
        "Available": ("True", "ReplicasReady"),
        "Ready": ("True", "Ready"),
    }
    assert made["url"] == "http://chat.team-a.svc"
    assert made["selector"] == "springtide.dev/pool=cpu,springtide.dev/service=chat"
    assert made["pools"] == [
        {"name": "cpu", "desired": 1, "replicas": 1, "ready": 1, "updated": 1, "revision": made["pools"][0]["revision"]}
    ]
    assert (made["observedGeneration"], made["replicas"], made["readyReplicas"], made["targetReplicas"]) == (3, 1, 1, 1)


def test_what_a_pool_does_not_act_on_is_told() -> None:
    pools = [{"name": "cpu"}, {"name": "gpu", "runtime": {"name": "Custom", "image": "c:1"}}]
    made = status(spec={"model": {"uri": f"oci://{MODEL}"}, "pools": pools, "batching": {"maxBatchSize": 8}})
    assert conditions(made)["Accepted"] == ("True", "Accepted")
    assert message(made, "Accepted").endswith("; spec.batching can't be had with the runtime of pool gpu")


def test_first_sight() -> None:
    made = conditions(status(deployment=None, pods=()))
    assert made["Available"] == ("False", "Starting")
    assert made["Reconciling"] == ("True", "Starting")
    assert "Stalled" not in made


def test_a_deployment_that_was_not_looked_at_yet_is_not_complete() -> None:
    stale = ObservedDeployment(5, 4, replicas=1, ready=1, updated=1, available=1)
    made = conditions(status(stale))
    assert made["Available"] == ("True", "ReplicasReady")
    assert made["Ready"] == ("False", "Progressing")
    assert made["Reconciling"] == ("True", "Progressing")


def test_a_rollout_that_fails_is_available_and_not_ready() -> None:
    rolling = ObservedDeployment(5, 5, replicas=2, ready=1, updated=1, available=1)
    made = status(rolling, [READY_POD, waiting("ErrImagePull", f'pull "{MODEL}": not found')])
    assert conditions(made)["Available"] == ("True", "ReplicasReady")
    assert conditions(made)["Ready"] == ("False", "ModelPullFailed")


def test_an_offline_pool_makes_nothing_available_beside_an_online_one() -> None:
    pools = [{"name": "cpu"}, {"name": "batch", "tier": "Offline"}]
    spec = {"model": {"uri": f"oci://{MODEL}"}, "pools": pools}
    made = status(None, [ObservedPod("chat-batch-x", "batch", online=False, ready=True)], spec=spec)
    assert conditions(made)["Available"] == ("False", "Starting")


def test_scaled_to_zero() -> None:
    spec = {"model": {"uri": f"oci://{MODEL}"}, "pools": [{"name": "cpu"}], "replicas": 0}
    made = conditions(status(ObservedDeployment(4, 4), (), spec=spec))
    assert made["Available"] == ("False", "ScaledToZero")
    assert not {"Reconciling", "Stalled"} & made.keys()


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        (
            waiting("ImagePullBackOff", f'Back-off pulling image "{MODEL}": not found'),
            "ModelPullFailed",
            ["spec.model", MODEL],
        ),
        (waiting("ErrImagePull", "docker.io/x/models/chat:v1: not found"), "ModelPullFailed", ["spec.model"]),
        (
            waiting("ErrImagePull", "springtide/model-server:0.1.0: not found"),
            "ImagePullFailed",
            ["spec.runtime.image", "springtide/model-server:0.1.0"],
        ),
        (waiting("CreateContainerConfigError", 'secret "x" not found'), "CreateContainerConfigError", ['secret "x"']),
        (
            waiting("CrashLoopBackOff", "back-off 40s", reason="OOMKilled", exitCode=137),
            "OOMKilled",
            ["2Gi", "4 time(s)", "limits.memory"],
        ),
        (
            waiting(
                "CrashLoopBackOff", "back-off", reason="Error", exitCode=1, message="Traceback\nValueError: no model\n"
            ),
            "CrashLoopBackOff",
            ["exit code 1: ValueError: no model"],
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes: 2 Insufficient cpu."}]),
            "Unschedulable",
            ["Insufficient cpu", "requests"],
        ),
        (
            pod(
                conditions=[
                    {"type": "PodScheduled", "status": "False", "message": 'persistentvolumeclaim "torch" not found'}
                ]
            ),
            "ClaimNotFound",
            ['"torch"', "create it"],
        ),
    ],
)
def test_causes(seen: ObservedPod, reason: str, words: list[str]) -> None:
    made = status(ObservedDeployment(4, 4, replicas=1, updated=1), [seen])
    assert conditions(made)["Available"] == ("False", reason)
    assert conditions(made)["Ready"] == ("False", reason)
    assert all(word in message(made) for word in words), message(made)


def test_a_pod_that_is_going_is_no_cause() -> None:
    going = ObservedPod("old", "cpu", online=True, deleting=True, unscheduled_message="no node")
    assert conditions(status(ObservedDeployment(4, 4, replicas=1, updated=1), [going]))["Ready"] == (
        "False",
        "Starting",
    )


def test_pods_that_are_refused() -> None:
    live = {
        "metadata": {"generation": 1},
        "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: q"}]},
    }
    made = status(observe_deployment(live), ())
    assert conditions(made)["Ready"] == ("False", "PodsRefused")
    assert "exceeded quota" in message(made)


def test_a_stuck_rollout_is_stalled() -> None:
    stuck = ObservedDeployment(4, 4, replicas=1, updated=1, stuck="deadline exceeded")
    made = conditions(status(stuck, ()))
    assert made["Stalled"] == ("True", "ProgressDeadlineExceeded")
    assert "Reconciling" not in made


@pytest.mark.parametrize(
    ("error", "accepted", "abnormal"),
    [
        (NameConflict("Service chat exists"), ("False", "NameConflict"), "Stalled"),
        (Forbidden("no"), ("False", "Forbidden"), "Stalled"),
        (Bug("oops"), ("Unknown", "InternalError"), "Reconciling"),
    ],
)
def test_errors(error: SpringtideError, accepted: tuple[str, str], abnormal: str) -> None:
    made = conditions(status(error=error))
    assert made["Accepted"] == accepted
    assert made["Ready"] == accepted
    assert made["Available"] == ("True", "ReplicasReady"), "what serves is said to serve"
    assert abnormal in made


def test_a_spec_that_cannot_be_read_keeps_the_rest() -> None:
    before = status()
    made = compute_refusal(Invalid("spec.pools[0].tier: no"), 4, [READY_POD], before, LATER)
    assert conditions(made)["Accepted"] == ("False", "InvalidSpec")
    assert conditions(made)["Available"] == ("True", "ReplicasReady")
    assert conditions(made)["Stalled"] == ("True", "InvalidSpec")
    assert made["pools"] == before["pools"]
    assert made["observedGeneration"] == 4
    gone = compute_refusal(Invalid("spec.pools[0].tier: no"), 4, [], made, LATER)
    assert conditions(gone)["Available"] == ("False", "InvalidSpec")


def test_times_change_with_the_status_only() -> None:
    before = status()
    after = status(pods=(), previous=before, now=LATER)
    times = {one["type"]: one["lastTransitionTime"] for one in after["conditions"]}
    assert times == {"Accepted": NOW, "Available": LATER, "Ready": LATER, "Reconciling": LATER}
    assert status(previous=before, now=LATER) == before, "nothing changed, so there is nothing to write"


def test_times_never_go_back_with_the_clock() -> None:
    before = status(now=LATER)
    after = status(pods=(), previous=before, now=NOW)
    assert {one["lastTransitionTime"] for one in after["conditions"]} == {LATER}
    assert "Reconciling" in conditions(after), "a condition that is new"


def test_messages_are_bounded() -> None:
    made = status(
        ObservedDeployment(4, 4), [waiting("CrashLoopBackOff", "", reason="Error", exitCode=1, message="x" * 9999)]
    )
    assert len(message(made)) <= 1000
