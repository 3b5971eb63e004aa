"""What a local cluster's Prometheus is told of a pod: the labels that kubernetes_sd documents for `role: pod`."""

from typing import Any

from hack.cluster.discovery import groups

POD: dict[str, Any] = {
    "metadata": {
        "name": "chat-cpu-1",
        "namespace": "team-a",
        "uid": "11111111-2222",
        "labels": {"springtide.dev/service": "chat", "app": ""},
        "annotations": {"prometheus.io/path": "/metrics"},
        "ownerReferences": [
            {"kind": "Other", "name": "one"},
            {"kind": "ReplicaSet", "name": "chat-cpu", "controller": True},
        ],
    },
    "spec": {
        "nodeName": "node-1",
        "containers": [
            {
                "name": "server",
                "image": "server:1",
                "ports": [
                    {"name": "http", "containerPort": 8000, "protocol": "TCP"},
                    {"containerPort": 9000, "protocol": "UDP"},
                ],
            },
            {"name": "aside", "image": "aside:1"},
        ],
        "initContainers": [{"name": "fetch", "image": "fetch:1"}],
    },
    "status": {
        "phase": "Running",
        "podIP": "10.1.2.3",
        "hostIP": "10.0.0.1",
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
    },
}
OF_THE_POD = {
    "__meta_kubernetes_namespace": "team-a",
    "__meta_kubernetes_pod_name": "chat-cpu-1",
    "__meta_kubernetes_pod_ip": "10.1.2.3",
    "__meta_kubernetes_pod_ready": "false",
    "__meta_kubernetes_pod_phase": "Running",
    "__meta_kubernetes_pod_node_name": "node-1",
    "__meta_kubernetes_pod_host_ip": "10.0.0.1",
    "__meta_kubernetes_pod_uid": "11111111-2222",
    "__meta_kubernetes_pod_controller_kind": "ReplicaSet",
    "__meta_kubernetes_pod_controller_name": "chat-cpu",
    "__meta_kubernetes_pod_label_springtide_dev_service": "chat",
    "__meta_kubernetes_pod_labelpresent_springtide_dev_service": "true",
    "__meta_kubernetes_pod_label_app": "",
    "__meta_kubernetes_pod_labelpresent_app": "true",
    "__meta_kubernetes_pod_annotation_prometheus_io_path": "/metrics",
    "__meta_kubernetes_pod_annotationpresent_prometheus_io_path": "true",
}


def container(of: str, init: str = "false", **port: str) -> dict[str, str]:
    labels = {"container_name": of, "container_image": f"{of}:1", "container_init": init}
    labels |= {f"container_port_{key}": value for key, value in port.items()}
    return OF_THE_POD | {f"__meta_kubernetes_pod_{key}": value for key, value in labels.items()}


def test_each_port_is_a_target_and_a_container_without_one_too() -> None:
    assert groups(POD) == [
        {"targets": ["10.1.2.3:8000"], "labels": container("server", number="8000", name="http", protocol="TCP")},
        {"targets": ["10.1.2.3:9000"], "labels": container("server", number="9000", name="", protocol="UDP")},
        {"targets": ["10.1.2.3"], "labels": container("aside")},
        {"targets": ["10.1.2.3"], "labels": container("fetch", init="true")},
    ]


def test_a_pod_without_an_address_is_none() -> None:
    assert groups(POD | {"status": {"phase": "Pending"}}) == []


def test_a_bare_pod_is_one() -> None:
    bare = {
        "metadata": {"name": "a", "namespace": "b", "uid": "1"},
        "spec": {"containers": [{"name": "c", "image": "d"}]},
        "status": {"podIP": "10.1.2.3"},
    }
    (one,) = groups(bare)
    assert one["labels"]["__meta_kubernetes_pod_ready"] == "unknown"
