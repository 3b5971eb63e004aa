"""What one reconcile decides: pure functions from what is known to what has to change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from springtide.api.errors import Invalid, SpringtideError
from springtide.api.modelservice import ModelService
from springtide.api.problems import problems
from springtide.clients.cluster import CHILDREN, DEPLOYMENT, REVISION, Kind
from springtide.controllers.cache import Entry, Name, Written
from springtide.manifests.build import IMMUTABLE, build
from springtide.manifests.names import POOL_LABEL, REVISION_LABEL
from springtide.manifests.ownership import differs_at, is_current, plain
from springtide.manifests.revisions import PoolPlan, Record, image_of, plan_pools, record_name
from springtide.manifests.settings import Settings

KINDS = {kind.kind: kind for kind in CHILDREN}


@dataclass(frozen=True)
class World:
    """What is known of one ModelService and its children, which are told apart by kind and name."""

    entry: Entry[Written]
    children: Mapping[tuple[str, Name], Entry[Any]]


@dataclass(frozen=True)
class Plan:
    """What has to change: the children to apply and the ones to delete; or why nothing can be planned."""

    service: ModelService | None = None
    pools: Sequence[PoolPlan] = ()
    apply: list[dict[str, Any]] = field(default_factory=list)
    delete: list[tuple[Kind, Entry[Any]]] = field(default_factory=list)
    error: SpringtideError | None = None


def decide(world: World, settings: Settings) -> Plan:
    """Return what has to change."""
    records = _records(world)
    try:
        service = parse(world.entry.value)
        pools = plan_pools(service, settings, records)
    except Invalid as error:
        # What runs goes on running: a spec that can't be acted on is no order to stop.
        return Plan(error=error)
    wanted = {child_key(one): one for one in build(service, pools, settings, records)}
    plan = Plan(service, pools)
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


def child_key(child: Mapping[str, Any]) -> tuple[str, Name]:
    """Return the kind and the name by which a child is told from others."""
    return child["kind"], (child["metadata"]["namespace"], child["metadata"]["name"])


def parse(written: Written) -> ModelService:
    """Return the service as it was written; raises Invalid that names the fields."""
    try:
        return ModelService.model_validate({"metadata": dict(written.metadata), "spec": dict(written.spec)})
    except ValidationError as error:
        raise Invalid("; ".join(str(problem) for problem in problems(error)[:5])) from None


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
