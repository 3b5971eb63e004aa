"""Revisions: which pods a pool has, and how they are remembered.

A revision is the hash of what is written about a pool that its pods depend on, and never of the pod template: so a new
version of the operator, which may render another template, changes no running pod. The template that was rendered for
a revision first is kept in a ControllerRevision and applied ever after, as for a rollback.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from springtide.api.modelservice import ModelService
from springtide.api.pools import Pool
from springtide.api.quantity import parse_quantity
from springtide.manifests.names import REVISION_LABEL, child, pool_labels, pool_name
from springtide.manifests.pods import CONTAINER, pod_template
from springtide.manifests.resolve import ResolvedPool, resolve, resolve_model, written_runtime
from springtide.manifests.settings import Settings

# Of each pool, the current one included.
KEPT = 5

_ONLINE = {"Realtime": True, "Fallback": True, "Offline": False}


@dataclass(frozen=True)
class Record:
    """A revision that was rendered: of which pool, in which order, and as what."""

    pool: str
    revision: str
    number: int
    template: Mapping[str, Any]


@dataclass(frozen=True)
class PoolPlan:
    """A pool as it should be: what was asked for, its revision and the template of its pods."""

    pool: ResolvedPool
    revision: str
    template: Mapping[str, Any]

    @property
    def image(self) -> str:
        """The image of the server, which an older version of the operator may have chosen."""
        return image_of(self.template)

    @property
    def model_image(self) -> str:
        """The image that is mounted as the model; empty when the model comes otherwise."""
        volumes = self.template["spec"].get("volumes", ())
        return next((str(one["image"]["reference"]) for one in volumes if "image" in one), "")


def image_of(template: Mapping[str, Any]) -> str:
    """Return the image of the server in a pod template; empty in what is none of ours."""
    containers = template.get("spec", {}).get("containers", ())
    return next((str(one.get("image", "")) for one in containers if one.get("name") == CONTAINER), "")


def plan_pools(
    service: ModelService, settings: Settings, records: Iterable[Record] = (), targets: Mapping[str, int] | None = None
) -> list[PoolPlan]:
    """Return each pool with its template: the recorded one of its revision, else a new one.

    `targets` are the replicas that scaling decided on, by pool; what it has none for has what the spec says.
    """
    known = {(record.pool, record.revision): record.template for record in records}
    plans = []
    for pool in service.spec.pools:
        revision = revision_of(service, pool)
        template = known.get((pool.name, revision))
        resolved = resolve(service, pool, settings, image_of(template) if template else "")
        if targets and pool.name in targets:
            resolved = replace(resolved, replicas=targets[pool.name])
        plans.append(PoolPlan(resolved, revision, template or pod_template(service, resolved, revision, settings)))
    return plans


def revision_of(service: ModelService, pool: Pool) -> str:
    """Return the revision of a pool: what its author wrote, without any default of the operator."""
    spec, model = service.spec, resolve_model(service, pool)
    inputs = {
        "model": model.uri,
        "modelRevision": model.revision,
        "task": model.task,
        "credentials": model.credentials_secret,
        "cache": _written(spec.cache) if model.fetched else None,
        "precision": pool.precision or spec.precision,
        "runtime": _written(written_runtime(service, pool)),
        "accelerator": _written(pool.accelerator),
        "requests": _amounts(pool.resources.requests),
        "limits": _amounts(pool.resources.limits),
        "nodeSelector": dict(pool.node_selector),
        "online": _ONLINE[pool.tier],
        "restartedAt": service.metadata.restarted_at,
    }
    # What is not written leaves no trace, so that a field which a later version adds changes no hash.
    text = json.dumps({name: value for name, value in inputs.items() if value}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _written(part: Any) -> Any:
    return part.model_dump(by_alias=True, exclude_defaults=True) if part is not None else None


def _amounts(amounts: Mapping[str, int | str]) -> dict[str, str]:
    # 1 and 1000m are one amount of cpu.
    return {name: format(parse_quantity(amount).normalize(), "f") for name, amount in amounts.items()}


def history(service: ModelService, plans: Sequence[PoolPlan], records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the ControllerRevisions to keep: the current one of each pool as the newest, and the last ones before."""
    kept = []
    for plan in plans:
        name = plan.pool.name
        others = [one for one in records if one.pool == name and one.revision != plan.revision]
        others.sort(key=lambda one: one.number, reverse=True)
        recorded = [one.number for one in records if one.pool == name and one.revision == plan.revision]
        before = others[0].number if others else 0
        number = recorded[0] if recorded and recorded[0] > before else before + 1
        current = Record(name, plan.revision, number, plan.template)
        kept += [_recorded(service, record) for record in [current, *others[: KEPT - 1]]]
    return kept


def record_name(service: str, record: Record) -> str:
    """Return the name of the ControllerRevision that keeps a record."""
    return f"{pool_name(service, record.pool)}-{record.revision}"


def _recorded(service: ModelService, record: Record) -> dict[str, Any]:
    name = record_name(service.metadata.name, record)
    labels = pool_labels(service, record.pool) | {REVISION_LABEL: record.revision}
    data = {"template": record.template}
    return child(service, "apps/v1", "ControllerRevision", name, labels, data=data, revision=record.number)
