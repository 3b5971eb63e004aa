"""The runtime policy of a service's pods: a ConfigMap that they read while they run."""

import json
from collections.abc import Sequence
from typing import Any

from springtide.api.modelservice import RESTARTED_AT, ModelService
from springtide.manifests.names import child, policy_name, service_labels
from springtide.manifests.revisions import PoolPlan
from springtide.manifests.runtimes import POLICY_FILE

_FIELDS = {"batching", "priorities"}


def policy_map(service: ModelService) -> dict[str, Any]:
    """Return the ConfigMap: what is written, so that the server's own settings hold for the rest."""
    said = service.spec.model_dump(include=_FIELDS, by_alias=True, exclude_defaults=True)
    name, data = policy_name(service.metadata.name), {POLICY_FILE: json.dumps(said, sort_keys=True)}
    return child(service, "v1", "ConfigMap", name, service_labels(service), data=data)


def unheeded(service: ModelService, plans: Sequence[PoolPlan]) -> str:
    """Return which pools don't act on what is said of batching and priorities, and why; empty when all do."""
    said = [f"spec.{field}" for field in sorted(_FIELDS) if getattr(service.spec, field)]
    deaf = [plan for plan in plans if not _reads(service, plan)]
    if not said or not deaf:
        return ""
    fields = " and ".join(said)
    others = [plan.pool.name for plan in deaf if not plan.pool.profile.takes_policy]
    older = [plan.pool.name for plan in deaf if plan.pool.profile.takes_policy]
    told = [f"{fields} can't be had with the runtime of pool {name}" for name in others]
    told += [f"pool {name} takes {fields} from its next revision on, or with {RESTARTED_AT}" for name in older]
    return "; ".join(told)


def _reads(service: ModelService, plan: PoolPlan) -> bool:
    """Tell whether the pool's pods mount the ConfigMap: templates of older operators do not."""
    name = policy_name(service.metadata.name)
    return any(volume.get("configMap", {}).get("name") == name for volume in plan.template["spec"].get("volumes", ()))
