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


def packages(spec: Spec, namespace: str, folder: Path) -> list[dict[str, Any]]:
    """Return a volume with the Python packages of the model server (torch: 5 GB), and the namespace's claim to it."""
    return claim(spec, namespace, CLAIM, folder, "ReadOnlyMany")


def claim(spec: Spec, namespace: str, name: str, folder: Path, mode: str) -> list[dict[str, Any]]:
    """Return a claim and its volume: a folder of the host, which all real nodes share."""
    on_nodes = {
        "key": "kubernetes.io/hostname",
        "operator": "In",
        "values": [node.name for node in spec.node_list],
    }
    shared = {"accessModes": [mode], "storageClassName": ""}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {
            **shared,
            "capacity": {"storage": "8Gi"},
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_nodes]}]}},
            "claimRef": {"namespace": namespace, "name": name},
        },
    }
    bound = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**shared, "resources": {"requests": {"storage": "8Gi"}}, "volumeName": f"{namespace}-{name}"},
    }
    return [volume, bound]
