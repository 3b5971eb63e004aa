"""Who may do what to the pods: their ServiceAccount, the NetworkPolicy and the PodDisruptionBudgets."""

from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.names import (
    CLIENT_LABEL,
    SERVICE_LABEL,
    account_name,
    child,
    pool_labels,
    pool_name,
    pool_selector,
    service_labels,
)
from springtide.manifests.resolve import ResolvedPool
from springtide.manifests.settings import Settings


def service_account(service: ModelService) -> dict[str, Any]:
    """Return the account of the pods: one without rights and without a token."""
    name = account_name(service.metadata.name)
    return child(service, "v1", "ServiceAccount", name, service_labels(service), automountServiceAccountToken=False)


def network_policy(service: ModelService, settings: Settings) -> dict[str, Any]:
    """Return who may connect: the namespace itself, the operator, and the namespaces that are labelled as clients."""
    name = service.metadata.name
    allowed: list[dict[str, Any]] = [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {CLIENT_LABEL: "true"}}},
    ]
    # Prometheus reads the metrics from the port that serves.
    allowed += [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        for namespace in settings.metrics_namespaces
    ]
    if settings.namespace:
        # It asks each service through its route.
        allowed.append(
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "springtide-operator"}},
            }
        )
    spec = {
        "podSelector": {"matchLabels": {SERVICE_LABEL: name}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": allowed, "ports": [{"port": "http", "protocol": "TCP"}]}],
    }
    return child(service, "networking.k8s.io/v1", "NetworkPolicy", name, service_labels(service), spec=spec)


def disruption_budget(service: ModelService, pool: ResolvedPool) -> dict[str, Any]:
    """Let evictions take one replica of a pool at a time.

    A budget of none would keep a node from being drained for ever. A pod that is not ready stops nobody.
    """
    name = service.metadata.name
    spec = {
        "maxUnavailable": 1,
        "selector": {"matchLabels": pool_selector(name, pool.name)},
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    labels = pool_labels(service, pool.name)
    return child(service, "policy/v1", "PodDisruptionBudget", pool_name(name, pool.name), labels, spec=spec)
