"""What the demo adds to a cluster beside the chart and the examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hack.cluster.spec import Spec

CLAIM = "packages"


def namespace(name: str) -> dict[str, Any]:
    """Return a namespace that enforces the restricted Pod Security Standard."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def packages(spec: Spec, name: str, folder: Path) -> list[dict[str, Any]]:
    """Return a volume with the Python packages of the model server (torch: 5 GB), and the namespace's claim to it."""
    on_nodes = {
        "key": "kubernetes.io/hostname",
        "operator": "In",
        "values": [node.name for node in spec.node_list],
    }
    shared = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{name}-{CLAIM}"},
        "spec": {
            **shared,
            "capacity": {"storage": "8Gi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_nodes]}]}},
            "claimRef": {"namespace": name, "name": CLAIM},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM, "namespace": name},
        "spec": {**shared, "resources": {"requests": {"storage": "8Gi"}}, "volumeName": f"{name}-{CLAIM}"},
    }
    return [volume, claim]
