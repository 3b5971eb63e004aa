"""The CustomResourceDefinition of each kind."""

from typing import Any

from springtide.api.base import GROUP, VERSION
from springtide.api.modelservice import NAME_RULES, ModelServiceSchema
from springtide.api.rules import validations
from springtide.api.schema import structural_schema


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


COLUMNS = (
    {"name": "Ready", "type": "string", "jsonPath": _condition("Ready", "status")},
    {"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas"},
    {"name": "Target", "type": "integer", "jsonPath": ".status.targetReplicas"},
    {"name": "URL", "type": "string", "jsonPath": ".status.url"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Model", "type": "string", "jsonPath": ".spec.model.uri", "priority": 1},
    {"name": "Reason", "type": "string", "jsonPath": _condition("Ready", "reason"), "priority": 1},
)


def modelservice_crd() -> dict[str, Any]:
    """Return the definition of ModelService."""
    schema = structural_schema(ModelServiceSchema)
    # The one default: without any status, kstatus takes an object that nobody has looked at for done.
    schema["properties"]["status"]["default"] = {"observedGeneration": -1}
    schema["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    } | schema["properties"]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"modelservices.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "ModelService",
                "listKind": "ModelServiceList",
                "plural": "modelservices",
                "singular": "modelservice",
                "shortNames": ["msvc"],
                "categories": ["springtide"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": list(COLUMNS),
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": schema | validations(*NAME_RULES)},
                }
            ],
        },
    }
