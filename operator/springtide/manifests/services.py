"""The Services: one for each pool, and one for clients over all pools that answer them."""

from collections.abc import Mapping, Sequence
from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.names import (
    TIER_LABEL,
    child,
    online_selector,
    pool_labels,
    pool_name,
    pool_selector,
    service_labels,
)
from springtide.manifests.resolve import ResolvedPool
from springtide.manifests.revisions import PoolPlan

# Clients need no port in the URL.
SERVICE_PORT = 80


def pool_service(service: ModelService, pool: ResolvedPool) -> dict[str, Any]:
    """Return the Service of one pool."""
    name = service.metadata.name
    labels = pool_labels(service, pool.name) | {TIER_LABEL: pool.tier}
    return _service(service, pool_name(name, pool.name), labels, pool_selector(name, pool.name))


def common_service(service: ModelService) -> dict[str, Any]:
    """Return the Service over all Realtime and Fallback pools."""
    name = service.metadata.name
    return _service(service, name, service_labels(service), online_selector(name))


def _service(
    service: ModelService, name: str, labels: Mapping[str, str], selector: Mapping[str, str]
) -> dict[str, Any]:
    spec = {
        "type": "ClusterIP",
        "selector": dict(selector),
        "ports": [{"name": "http", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "http"}],
    }
    return child(service, "v1", "Service", name, labels, spec=spec)


def route_url(service: ModelService, plans: Sequence[PoolPlan]) -> str:
    """Return where to ask, as clients do, whether requests come to the model.

    Through its own Service, or through that of the first pool when every pool is Offline. Not where readiness is asked:
    of that the kubelets tell, and a pod that was told to go says no there while it still answers what clients ask.
    """
    metadata = service.metadata
    first = next((plan.pool for plan in plans if plan.pool.online), plans[0].pool)
    root = service_url(service) or f"http://{pool_name(metadata.name, first.name)}.{metadata.namespace}.svc"
    return root + first.runtime.liveness_path


def service_url(service: ModelService) -> str:
    """Return where the model answers inside the cluster; empty when every pool is Offline."""
    if all(pool.tier == "Offline" for pool in service.spec.pools):
        return ""
    return f"http://{service.metadata.name}.{service.metadata.namespace}.svc"
