"""What one reconcile decides: pure functions from what is known to what has to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isnan
from typing import Any

from pydantic import ValidationError

from springtide.api.errors import Invalid, SpringtideError
from springtide.api.modelservice import ModelService
from springtide.api.problems import summary
from springtide.clients.cluster import CHILDREN, DEPLOYMENT, REVISION, Kind
from springtide.controllers.cache import Entry, Name, Written
from springtide.controllers.observing import Senses, observe, ready_seconds
from springtide.manifests.build import IMMUTABLE, build
from springtide.manifests.names import POOL_LABEL, REVISION_LABEL
from springtide.manifests.ownership import differs_at, is_current, plain
from springtide.manifests.revisions import PoolPlan, Record, image_of, plan_pools, record_name
from springtide.manifests.settings import Settings
from springtide.scaling.decide import decide as decide_scaling
from springtide.scaling.demand import rate_of
from springtide.scaling.forecasts import judge, read_forecasts
from springtide.scaling.moment import lead_times
from springtide.scaling.resolve import scaling_settings
from springtide.scaling.statements import Statement, Verdict
from springtide.scaling.tuning import TUNING
from springtide.status.observed import ObservedDeployment, ObservedPod
from springtide.status.scaled import Scaled

KINDS = {kind.kind: kind for kind in CHILDREN}


@dataclass(frozen=True)
class World:
    """What is known of one ModelService and its children, which are told apart by kind and name.

    `statements` are what its TrafficForecasts say, `deployments` are by pool; `now` is in Unix seconds.
    """

    entry: Entry[Written]
    children: Mapping[tuple[str, Name], Entry[Any]]
    deployments: Mapping[str, ObservedDeployment] = field(default_factory=dict)
    pods: Sequence[ObservedPod] = ()
    senses: Senses = field(default_factory=Senses)
    statements: Sequence[Statement] = ()
    now: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What has to change: the children to apply and the ones to delete; or why nothing can be planned.

    `verdicts` are what became of the service's TrafficForecasts, by their names.
    """

    service: ModelService | None = None
    pools: Sequence[PoolPlan] = ()
    scaled: Scaled | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    apply: list[dict[str, Any]] = field(default_factory=list)
    delete: list[tuple[Kind, Entry[Any]]] = field(default_factory=list)
    error: SpringtideError | None = None


def decide(world: World, settings: Settings) -> Plan:
    """Return what has to change."""
    records = _records(world)
    try:
        service = parse(world.entry.value)
        scaled, verdicts = scale(world, service)
        pools = plan_pools(service, settings, records, scaled.decision.targets)
    except Invalid as error:
        # What runs goes on running: a spec that can't be acted on is no order to stop.
        return Plan(error=error)
    wanted = {child_key(one): one for one in build(service, pools, settings, records)}
    plan = Plan(service, pools, scaled, verdicts)
    for key, desired in wanted.items():
        live = world.children.get(key)
        if live is None or not is_current(desired, live.owned):
            if live is not None and _is_stuck(desired, live):
                plan.delete.append((KINDS[key[0]], live))  # its deletion comes as an event, and then it is made anew
            else:
                plan.apply.append(desired)
    for key, live in world.children.items():
        if key not in wanted:
            plan.delete.append((KINDS[key[0]], live))
    plan.delete[:] = [(kind, live) for kind, live in plan.delete if not live.deleting]
    return plan


def scale(world: World, service: ModelService) -> tuple[Scaled, Mapping[str, Verdict]]:
    """Return how many replicas each pool should have and why, and what became of TrafficForecasts meanwhile."""
    settings, senses = scaling_settings(service), world.senses
    status = world.entry.value.status
    seen = observe(service, settings, world.deployments, world.pods, status, senses, world.now)
    reading = read_forecasts(world.statements, world.now, rate_of(seen.traffic, TUNING), lead_times(seen, TUNING))
    seen = replace(seen, outlook=reading.outlook, announced=reading.announced)
    decision = decide_scaling(seen, settings, senses.state)
    starts = {pool: ready_seconds([pod for pod in world.pods if pod.pool == pool]) for pool in seen.pools}
    scaled = Scaled(
        decision=decision,
        settings=settings,
        trouble=senses.trouble,
        unread=senses.unread,
        idle=tuple(one.name for one in settings.schedules if one.timezone not in seen.week_minutes),
        capacities={name: one.estimate for name, one in senses.capacities.items() if one.weight and one.estimate},
        starts={pool: both for pool, both in starts.items() if not isnan(both[0])},
        now=world.now,
    )
    return scaled, {} if senses.unread else judge(reading, settings, decision, senses.trouble)


def child_key(child: Mapping[str, Any]) -> tuple[str, Name]:
    """Return the kind and the name by which a child is told from others."""
    return child["kind"], (child["metadata"]["namespace"], child["metadata"]["name"])


def parse(written: Written) -> ModelService:
    """Return the service as it was written; raises Invalid that names the fields."""
    try:
        return ModelService.model_validate({"metadata": dict(written.metadata), "spec": dict(written.spec)})
    except ValidationError as error:
        raise Invalid(summary(error)) from None


def _is_stuck(desired: Mapping[str, Any], live: Entry[Any]) -> bool:
    return any(differs_at(desired, live.owned, path) for path in IMMUTABLE.get(desired["kind"], ()))


def _records(world: World) -> list[Record]:
    """Return the revisions that are remembered, and those that run without being so: a write of ours was lost."""
    service = world.entry.name[1]
    records = [
        child.value
        for (kind, (_, name)), child in world.children.items()
        # One that could not be ours is none: its template would be run.
        if kind == REVISION.kind and name == record_name(service, child.value) and image_of(child.value.template)
    ]
    known = {(record.pool, record.revision) for record in records}
    for (kind, _), child in world.children.items():
        template = ((child.owned or {}).get("spec") or {}).get("template") if kind == DEPLOYMENT.kind else None
        labels = (template or {}).get("metadata", {}).get("labels", {})
        running = labels.get(POOL_LABEL, ""), labels.get(REVISION_LABEL, "")
        if all(running) and running not in known:
            records.append(Record(*running, number=0, template=plain(template)))
    return records
