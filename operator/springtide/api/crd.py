"""The CustomResourceDefinition of each kind."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from springtide.api.base import GROUP, VERSION
from springtide.api.modelservice import NAME_RULES, ModelServiceSchema
from springtide.api.rules import Rule, validations
from springtide.api.schema import structural_schema
from springtide.api.trafficforecast import TrafficForecastSchema


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


_AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def modelservice_crd() -> dict[str, Any]:
    """Return the definition of ModelService."""
    columns = (
        {"name": "Ready", "type": "string", "jsonPath": _condition("Ready", "status")},
        {"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas"},
        {"name": "Target", "type": "integer", "jsonPath": ".status.targetReplicas"},
        {"name": "URL", "type": "string", "jsonPath": ".status.url"},
        _AGE,
        {"name": "Model", "type": "string", "jsonPath": ".spec.model.uri", "priority": 1},
        {"name": "Reason", "type": "string", "jsonPath": _condition("Ready", "reason"), "priority": 1},
    )
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return _crd("ModelService", "msvc", ModelServiceSchema, columns, {"status": {}, "scale": scale}, NAME_RULES)


def trafficforecast_crd() -> dict[str, Any]:
    """Return the definition of TrafficForecast."""
    columns = (
        {"name": "Service", "type": "string", "jsonPath": ".spec.serviceName"},
        {"name": "Used", "type": "string", "jsonPath": _condition("Used", "status")},
        {"name": "Reason", "type": "string", "jsonPath": _condition("Used", "reason")},
        {"name": "Issued", "type": "date", "jsonPath": ".spec.series.issuedAt"},
        {"name": "Producer", "type": "string", "jsonPath": ".spec.series.producer"},
        _AGE,
        {"name": "Starts", "type": "string", "jsonPath": ".spec.announcement.startsAt", "priority": 1},
        {"name": "Ends", "type": "string", "jsonPath": ".spec.announcement.endsAt", "priority": 1},
    )
    return _crd("TrafficForecast", "tfc", TrafficForecastSchema, columns, {"status": {}})


def crds() -> tuple[dict[str, Any], ...]:
    """Return the definitions of all kinds."""
    return modelservice_crd(), trafficforecast_crd()


def _crd(
    kind: str,
    short_name: str,
    model: type[BaseModel],
    columns: Sequence[Mapping[str, Any]],
    subresources: Mapping[str, Any],
    rules: Sequence[Rule] = (),
) -> dict[str, Any]:
    """Return a definition; the rules are about the whole object."""
    schema = structural_schema(model)
    # The one default: without any status, kstatus takes an object that nobody has looked at for done.
    schema["properties"]["status"]["default"] = {"observedGeneration": -1}
    schema["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    } | schema["properties"]
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": kind.lower(),
                "shortNames": [short_name],
                "categories": ["springtide"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(columns),
                    "subresources": dict(subresources),
                    "schema": {"openAPIV3Schema": schema | (validations(*rules) if rules else {})},
                }
            ],
        },
    }
