"""The Deployment of a pool."""

from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.names import REVISION_LABEL, TIER_LABEL, child, pool_labels, pool_name, pool_selector
from springtide.manifests.revisions import PoolPlan

# For the image of the runtime and for a model that is fetched, before the server itself starts.
_FETCH_SECONDS = 3600


def deployment(service: ModelService, plan: PoolPlan) -> dict[str, Any]:
    """Return the Deployment of a pool."""
    name, pool = service.metadata.name, plan.pool
    # The tier is no label of pods: a change between Realtime and Fallback must restart none.
    labels = pool_labels(service, pool.name) | {TIER_LABEL: pool.tier, REVISION_LABEL: plan.revision}
    spec = {
        "replicas": pool.replicas,
        "revisionHistoryLimit": 3,
        # Longer than the startup probe waits: a model that is still loading has not failed.
        "progressDeadlineSeconds": pool.runtime.startup_seconds + _FETCH_SECONDS,
        "selector": {"matchLabels": pool_selector(name, pool.name)},
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": pool.max_surge, "maxUnavailable": pool.max_unavailable},
        },
        "template": plan.template,
    }
    return child(service, "apps/v1", "Deployment", pool_name(name, pool.name), labels, spec=spec)
