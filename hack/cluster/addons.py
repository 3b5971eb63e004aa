"""What runs in a cluster from the start: cluster DNS, and fake nodes by KWOK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from . import process
from .control_plane import kubectl
from .spec import Spec
from .tools import folder, program

COREDNS = "springtide.local/coredns:1"
STAGES = (
    "node/fast/node-initialize.yaml",
    "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
    "pod/fast/pod-ready.yaml",
    "pod/fast/pod-complete.yaml",
    "pod/fast/pod-delete.yaml",
)
FAKE_NODE_LABEL = {"type": "kwok"}


def dns(spec: Spec) -> None:
    """Run CoreDNS as a Deployment behind the cluster's DNS address."""
    text = (Path(__file__).parent / "coredns.yaml").read_text()
    text = text.replace("DNS_ADDRESS", str(spec.dns_address)).replace("IMAGE", COREDNS)
    kubectl(spec, "apply", "--server-side", "-f", "-", stdin=text)


def fake_nodes(spec: Spec) -> None:
    """Start KWOK and make the fake nodes, tainted, with GPUs if asked for."""
    stages = [f"--config={folder('kwok')}/stage/{stage}" for stage in STAGES]
    process.start(
        spec,
        "kwok",
        program("kwok"),
        f"--kubeconfig={spec.kubeconfig}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        f"--cidr={spec.fake_pod_range}",
        f"--node-ip={spec.node_range[-2]}",
        f"--server-address=127.0.0.1:{spec.port(47)}",
        # without leases the controller manager takes the nodes for dead after 50 s
        "--node-lease-duration-seconds=40",
        *stages,
    )
    nodes = [fake_node(spec, number) for number in range(1, spec.fake_nodes + 1)]
    kubectl(spec, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(json.loads(json.dumps(nodes))))


def fake_node(spec: Spec, number: int) -> dict[str, Any]:
    """Return the manifest of a fake node: 32 CPUs, 256 GiB, the cluster's number of GPUs."""
    name = f"{spec.name}-fake-{number}"
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    if spec.fake_gpus:
        capacity["nvidia.com/gpu"] = str(spec.fake_gpus)
    labels = {
        **FAKE_NODE_LABEL,
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/region": spec.name,
        "topology.kubernetes.io/zone": name,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": labels},
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": capacity, "allocatable": capacity},
    }
