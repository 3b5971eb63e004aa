"""The child objects of a ModelService.

Per pool a Deployment and a Service, both called SERVICE-POOL: who wants one pool in particular, such as an offline
job, asks it by name. And one Service with the name of the ModelService over the Realtime and Fallback pools: the
address that clients use, which stays when pools come and go. It is left out when every pool is Offline, since nothing
would ever answer there.
"""

from typing import Any

from springtide.api.base import GROUP, VERSION
from springtide.api.modelservice import ModelService
from springtide.manifests.names import (
    POOL_LABEL,
    TIER_LABEL,
    online_selector,
    pool_name,
    pool_selector,
    service_labels,
)
from springtide.manifests.pods import pod_template
from springtide.manifests.resolve import ResolvedPool, resolve
from springtide.manifests.settings import Settings

# Clients need no port in the URL.
SERVICE_PORT = 80


def build(service: ModelService, settings: Settings) -> list[dict[str, Any]]:
    """Return every child that the service should have: the same list for the same input."""
    pools = [resolve(service, pool, settings) for pool in service.spec.pools]
    children = []
    for pool in pools:
        children += [_deployment(service, pool, settings), _pool_service(service, pool)]
    if any(pool.online for pool in pools):
        name = service.metadata.name
        children.append(_service(service, name, service_labels(service), online_selector(name)))
    return children


def _deployment(service: ModelService, pool: ResolvedPool, settings: Settings) -> dict[str, Any]:
    name = service.metadata.name
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(service, pool_name(name, pool.name), _pool_labels(service, pool)),
        "spec": {
            "replicas": pool.replicas,
            "revisionHistoryLimit": 3,
            # Longer than the startup probe waits: a model that is still loading has not failed.
            "progressDeadlineSeconds": 2400,
            "selector": {"matchLabels": pool_selector(name, pool.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": pod_template(service, pool, settings),
        },
    }


def _pool_service(service: ModelService, pool: ResolvedPool) -> dict[str, Any]:
    name = service.metadata.name
    selector = pool_selector(name, pool.name)
    return _service(service, pool_name(name, pool.name), _pool_labels(service, pool), selector)


def _service(service: ModelService, name: str, labels: dict[str, str], selector: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(service, name, labels),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "port": SERVICE_PORT, "protocol": "TCP", "targetPort": "http"}],
        },
    }


def _pool_labels(service: ModelService, pool: ResolvedPool) -> dict[str, str]:
    # The tier is no label of pods: a change between Realtime and Fallback must restart none.
    return service_labels(service) | {POOL_LABEL: pool.name, TIER_LABEL: pool.tier}


def _metadata(service: ModelService, name: str, labels: dict[str, str]) -> dict[str, Any]:
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelService",
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": service.metadata.namespace,
        "labels": labels,
        "ownerReferences": [owner],
    }


def route_url(service: ModelService) -> str:
    """Return where clients ask the model: its own Service, or that of the first pool when every pool is Offline."""
    metadata = service.metadata
    return (
        service_url(service)
        or f"http://{pool_name(metadata.name, service.spec.pools[0].name)}.{metadata.namespace}.svc"
    )


def service_url(service: ModelService) -> str:
    """Return where the model answers inside the cluster; empty when every pool is Offline."""
    if all(pool.tier == "Offline" for pool in service.spec.pools):
        return ""
    return f"http://{service.metadata.name}.{service.metadata.namespace}.svc"
