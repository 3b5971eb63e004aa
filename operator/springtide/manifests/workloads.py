"""The Deployment of a pool."""

from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.names import REVISION_LABEL, TIER_LABEL, child, pool_labels, pool_name, pool_selector
from springtide.manifests.revisions import PoolPlan

# Before the server itself starts: for its image, and for a model that is fetched.
_PULL_SECONDS = 600
_FETCH_SECONDS = 7200


def deployment(service: ModelService, plan: PoolPlan) -> dict[str, Any]:
    """Return the Deployment of a pool."""
    name, pool = service.metadata.name, plan.pool
    # The tier is no label of pods: a change between Realtime and Fallback must restart none.
    labels = pool_labels(service, pool.name) | {TIER_LABEL: pool.tier, REVISION_LABEL: plan.revision}
    deadline = pool.runtime.startup_seconds + _PULL_SECONDS + (_FETCH_SECONDS if pool.model.fetched else 0)
    spec = {
        "replicas": pool.replicas,
        "revisionHistoryLimit": 3,
        # Longer than the startup probe waits: a model that is still loading has not failed.
        "progressDeadlineSeconds": deadline,
        "selector": {"matchLabels": pool_selector(name, pool.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": pool.max_surge, "maxUnavailable": pool.max_unavailable},
        },
        "template": plan.template,
    }
    return child(service, "apps/v1", "Deployment", pool_name(name, pool.name), labels, spec=spec)
