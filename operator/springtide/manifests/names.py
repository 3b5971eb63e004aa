"""Names and labels of child objects."""

from collections.abc import Mapping
from typing import Any

from springtide.api.base import GROUP, VERSION
from springtide.api.modelservice import ModelService

SERVICE_LABEL = f"{GROUP}/service"
POOL_LABEL = f"{GROUP}/pool"
TIER_LABEL = f"{GROUP}/tier"
ONLINE_LABEL = f"{GROUP}/online"
REVISION_LABEL = f"{GROUP}/revision"
# Of a namespace: its pods may reach model servers of other namespaces.
CLIENT_LABEL = f"{GROUP}/client"


def pool_name(service: str, pool: str) -> str:
    """Return the name of a pool's Deployment and Service; admission keeps it within 63 characters."""
    return f"{service}-{pool}"


def account_name(service: str) -> str:
    """Return the name of the ServiceAccount of a service's pods; never that of an account which people make."""
    return f"{service}-model-server"


def policy_name(service: str) -> str:
    """Return the name of the ConfigMap that a service's pods read while they run."""
    return f"{service}-runtime-policy"


def service_labels(service: ModelService) -> dict[str, str]:
    """Return the labels of every child."""
    name = service.metadata.name
    return {
        "app.kubernetes.io/name": "model-server",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "inference",
        "app.kubernetes.io/part-of": "springtide",
        "app.kubernetes.io/managed-by": "springtide",
        SERVICE_LABEL: name,
    }


def pool_labels(service: ModelService, pool: str) -> dict[str, str]:
    """Return the labels of what belongs to one pool."""
    return service_labels(service) | {POOL_LABEL: pool}


def pool_selector(service: str, pool: str) -> dict[str, str]:
    """Return the labels that select a pool's pods."""
    return {SERVICE_LABEL: service, POOL_LABEL: pool}


def online_selector(service: str) -> dict[str, str]:
    """Return the labels that select the pods that answer through the ModelService's own Service."""
    return {SERVICE_LABEL: service, ONLINE_LABEL: "true"}


def selector_text(labels: Mapping[str, str]) -> str:
    """Return a selector as kubectl and autoscalers write it."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))


def child(
    service: ModelService, api_version: str, kind: str, name: str, labels: Mapping[str, str], **fields: Any
) -> dict[str, Any]:
    """Return a child object of the service: in its namespace, and gone when it is."""
    owner = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "ModelService",
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata = {
        "name": name,
        "namespace": service.metadata.namespace,
        "labels": dict(labels),
        "ownerReferences": [owner],
    }
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}
