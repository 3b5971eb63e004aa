"""ModelServices in the situations that GitOps tools have to tell apart, with the status that the operator writes."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from springtide.api.errors import Bug, Forbidden, Invalid, Missing, NameConflict, SpringtideError, Unavailable
from springtide.manifests.revisions import plan_pools
from springtide.status.compute import compute_refusal, compute_status
from springtide.status.observed import ObservedContainer, ObservedDeployment, ObservedPod
from tests.unit.samples import ROOT, SETTINGS, model_service

NOW = "2026-01-01T00:00:00Z"
GENERATION = 3
READY_POD = ObservedPod("chat-cpu-a", "cpu", online=True, ready=True)
NEW_POD = ObservedPod("chat-cpu-b", "cpu", online=True)
COMPLETE = ObservedDeployment(1, 1, replicas=1, ready=1, updated=1, available=1)
UPDATING = ObservedDeployment(2, 2, replicas=2, ready=1, updated=1, available=1)
STARTING = ObservedDeployment(1, 1, replicas=1, updated=1)
STUCK = ObservedDeployment(1, 1, replicas=1, updated=1, stuck='ReplicaSet "chat-cpu-1" has timed out progressing.')
MODEL = {"uri": "oci://registry.example.com/models/chat:v1"}
ONE_POOL = {"model": MODEL, "pools": [{"name": "cpu"}]}


@dataclass(frozen=True)
class Situation:
    """An object, and what kstatus and Argo CD should say of it; `hint` is in the message that they show."""

    name: str
    live: dict[str, Any]
    kstatus: str
    argo: str
    hint: str = ""


def broken(reason: str = "", message: str = "", **ended: Any) -> ObservedPod:
    container = ObservedContainer(waiting_reason=reason, waiting_message=message, **ended)
    return ObservedPod("chat-cpu-b", "cpu", online=True, containers=(container,))


CRASHING = broken("CrashLoopBackOff", restarts=4, exit_code=1, ended_message="ValueError: no model")
UNPULLABLE = broken("ImagePullBackOff", 'pull "springtide/model-server:0.1.0": not found')
HOMELESS = ObservedPod("chat-cpu-b", "cpu", online=True, unscheduled_message="0/2 nodes: 2 Insufficient cpu.")


@cache
def default_status() -> dict[str, Any]:
    """Return the status that the API server itself gives an object that the operator has not seen."""
    definition = yaml.safe_load((ROOT / "crds/springtide.dev_modelservices.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return dict(schema["properties"]["status"].get("default", {}))


def live(status: dict[str, Any], spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "springtide.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "chat", "namespace": "team-a", "generation": GENERATION, **metadata},
        "spec": spec or ONE_POOL,
        **({"status": status} if status else {}),
    }


def seen(
    deployment: ObservedDeployment | None = COMPLETE,
    pods: Iterable[ObservedPod] = (READY_POD,),
    error: SpringtideError | None = None,
    *,
    spec: dict[str, Any] | None = None,
    silence: str = "",
) -> dict[str, Any]:
    """Return the object as the operator leaves it."""
    service = model_service(spec or ONE_POOL, generation=GENERATION)
    deployments = {"cpu": deployment} if deployment else {}
    plans = plan_pools(service, SETTINGS)
    return live(compute_status(service, plans, deployments, pods, error, {}, NOW, silence), spec)


def refused(previous: dict[str, Any]) -> dict[str, Any]:
    return live(compute_refusal(Invalid("spec.pools[0].tier: Fast is unknown"), GENERATION, [READY_POD], previous, NOW))


READY = seen()
ZERO = ONE_POOL | {"replicas": 0}
TWO_POOLS = ONE_POOL | {"pools": [{"name": "cpu"}, {"name": "gpu"}]}
PROGRESSING = ("InProgress", "Progressing")
DEGRADED = ("Failed", "Degraded")

SITUATIONS = [
    Situation("not seen by the operator", live(default_status()), *PROGRESSING),
    Situation("first look", seen(None, ()), *PROGRESSING, "no replica is ready yet"),
    Situation("starting", seen(STARTING, [NEW_POD]), *PROGRESSING, "no replica is ready yet"),
    Situation("ready", READY, "Current", "Healthy"),
    Situation("edited and not looked at", live(READY["status"], generation=GENERATION + 1), *PROGRESSING),
    Situation("rolling out", seen(UPDATING, [READY_POD, NEW_POD]), *PROGRESSING, "1 are of the newest revision"),
    Situation("a pool of two missing", seen(spec=TWO_POOLS), *PROGRESSING, "pool gpu"),
    Situation("invalid from the start", refused({}), *DEGRADED, "spec.pools[0].tier"),
    Situation("invalid after an edit", refused(READY["status"]), *DEGRADED, "spec.pools[0].tier"),
    Situation("name conflict", seen(error=NameConflict("Service chat exists")), *DEGRADED, "Service chat exists"),
    Situation("forbidden", seen(error=Forbidden("quota exceeded")), *DEGRADED, "quota exceeded"),
    Situation("reference not found", seen(error=Missing("no such Secret")), *DEGRADED, "no such Secret"),
    Situation("API server away", seen(None, (), Unavailable("no answer")), *PROGRESSING, "no answer"),
    Situation("error of the operator", seen(error=Bug("oops")), *PROGRESSING, "oops"),
    Situation("crash loop", seen(STARTING, [CRASHING]), *PROGRESSING, "ValueError: no model"),
    Situation("image not found", seen(STARTING, [UNPULLABLE]), *PROGRESSING, "spec.runtime.image"),
    Situation("no room", seen(STARTING, [HOMELESS]), *PROGRESSING, "Insufficient cpu"),
    Situation("quota of pods", seen(ObservedDeployment(1, 1, failure="exceeded quota"), ()), *PROGRESSING, "quota"),
    Situation("a rollout that fails", seen(UPDATING, [READY_POD, CRASHING]), *PROGRESSING, "ValueError"),
    Situation("deadline exceeded", seen(STUCK, [NEW_POD]), *DEGRADED, "timed out"),
    Situation("crash loop, deadline exceeded", seen(STUCK, [CRASHING]), *DEGRADED, "ValueError: no model"),
    Situation("nobody answers", seen(silence="http://chat.team-a.svc does not answer"), *PROGRESSING, "NetworkPolicy"),
    Situation("going to zero", seen(spec=ZERO), *PROGRESSING),
    Situation("scaled to zero", seen(ObservedDeployment(1, 1), (), spec=ZERO), "Current", "Suspended"),
    Situation("deleted", live(READY["status"], deletionTimestamp=NOW), "Terminating", "Progressing", "delet"),
]
