"""The status of a ModelService, whole: what the one status write of a reconcile sends."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from springtide.api.errors import SpringtideError
from springtide.api.modelservice import ModelService
from springtide.manifests.batching import unheeded
from springtide.manifests.names import pool_selector, selector_text
from springtide.manifests.revisions import PoolPlan
from springtide.manifests.services import service_url
from springtide.status.conditions import Finding, PoolView, accepted, available, progress, ready, still_available
from springtide.status.observed import ObservedDeployment, ObservedPod
from springtide.status.scaled import Scaled, conditions, pool_status, scaling_status


def compute_status(
    service: ModelService,
    plans: Iterable[PoolPlan],
    deployments: Mapping[str, ObservedDeployment],
    pods: Iterable[ObservedPod],
    error: SpringtideError | None,
    previous: Mapping[str, Any],
    now: str,
    silence: str = "",
    scaled: Scaled | None = None,
) -> dict[str, Any]:
    """Return the status of a service whose spec could be read.

    `deployments` is by pool, `now` in RFC 3339, `silence` why nothing answers through the route (see `available`).
    """
    pods, plans = list(pods), list(plans)
    pools = [
        PoolView(plan, deployments.get(plan.pool.name), [pod for pod in pods if pod.pool == plan.pool.name])
        for plan in plans
    ]
    generation = service.metadata.generation
    left_out = [unheeded(service, plans), scaled.unheeded if scaled else ""]
    judged = accepted(error, "; ".join(filter(None, left_out)))
    serving = available(pools, silence)
    summary = ready(judged, serving, pools)
    first = pools[0]
    scaling = list(conditions(scaled, pools, previous)) if scaled else []
    findings = [judged, serving, summary, *scaling, *progress(summary, pools)]
    return {
        "observedGeneration": generation,
        "conditions": timed(findings, generation, previous, now),
        "replicas": first.seen.replicas,
        "readyReplicas": first.seen.ready,
        "targetReplicas": first.wanted.replicas,
        "selector": selector_text(pool_selector(service.metadata.name, first.wanted.name)),
        "url": service_url(service),
        "pools": [
            {
                "name": pool.wanted.name,
                "desired": pool.wanted.replicas,
                "replicas": pool.seen.replicas,
                "ready": pool.seen.ready,
                "updated": pool.seen.updated,
                "revision": pool.plan.revision,
                **(pool_status(scaled, pool.wanted.name, previous) if scaled else {}),
            }
            for pool in pools
        ],
        **({"scaling": told} if scaled and (told := scaling_status(scaled, previous, now)) else {}),
    }


def compute_outage(
    service: ModelService,
    plans: Iterable[PoolPlan],
    deployments: Mapping[str, ObservedDeployment],
    pods: Iterable[ObservedPod],
    previous: Mapping[str, Any],
    now: str,
    silence: str = "",
    scaled: Scaled | None = None,
) -> dict[str, Any]:
    """Return the status while children can't be written: who answers is judged, and what else was said stays said."""
    generation = int(previous.get("observedGeneration", 0))
    made = compute_status(service, plans, deployments, pods, None, previous, now, silence, scaled)
    (serving,) = (one for one in made["conditions"] if one["type"] == "Available")
    kept = [one for one in previous["conditions"] if one["type"] != "Available"]
    if serving["status"] != "True":
        fields = ("status", "reason", "message", "lastTransitionTime")
        failed = {field: serving[field] for field in fields}
        kept = [one | failed if one["type"] == "Ready" and one["status"] == "True" else one for one in kept]
    conditions = [one | {"observedGeneration": generation} for one in [*kept, serving]]
    order = [one["type"] for one in made["conditions"]]
    conditions.sort(key=lambda one: order.index(one["type"]) if one["type"] in order else len(order))
    pools = {"pools": previous["pools"]} if "pools" in previous else {}
    return made | pools | {"observedGeneration": generation, "conditions": conditions}


def compute_refusal(
    error: SpringtideError,
    generation: int,
    pods: Sequence[ObservedPod],
    previous: Mapping[str, Any],
    now: str,
    silence: str = "",
) -> dict[str, Any]:
    """Return the status of an object whose spec can't be acted on: what was running is left alone and still judged."""
    judged = accepted(error)
    serving = still_available(pods, silence, error.reason)
    summary = ready(judged, serving, [])
    kept = {key: value for key, value in previous.items() if key not in {"conditions", "observedGeneration"}}
    conditions = timed([judged, serving, summary, *progress(summary)], generation, previous, now)
    return {"observedGeneration": generation, "conditions": conditions} | kept


def timed(findings: Sequence[Finding], generation: int, previous: Mapping[str, Any], now: str) -> list[dict[str, Any]]:
    """Return the conditions as they are written; `previous` is the status before, `now` in RFC 3339."""
    before = {one["type"]: one for one in previous.get("conditions", ())}
    # The clock of this operator or of the one before it may be wrong: no transition is older than the last one.
    now = max([now, *(one["lastTransitionTime"] for one in before.values())])
    made = []
    for finding in findings:
        was = before.get(finding.type)
        same = was is not None and was["status"] == finding.status
        made.append(
            {
                "type": finding.type,
                "status": finding.status,
                "observedGeneration": generation,
                "lastTransitionTime": was["lastTransitionTime"] if same and was else now,
                "reason": finding.reason,
                "message": finding.message,
            }
        )
    return made
