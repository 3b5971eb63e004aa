"""Which pods Prometheus scrapes: kubernetes_sd with `role: pod`, written to files as file_sd reads them.

It does what the scrape jobs of the chart ask of kubernetes_sd, and gives targets the same labels
(https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod), so that relabelling sees what it sees
in a cluster whose Prometheus has it built in.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from urllib.parse import urlencode

from hack.shell import say

from . import prometheus
from .spec import Spec

PATIENCE = 60  # seconds of a watch, which is then begun anew
Pods = dict[str, dict[str, Any]]


def run(spec: Spec) -> None:
    """Keep the targets of all jobs up to date, for ever."""
    folder = spec.home / "prometheus"
    for job, configs in json.loads((folder / "discovery.json").read_text()).items():
        found = _Found(partial(prometheus.set_targets, folder, job))
        for config in configs:
            selector = ",".join(one["label"] for one in config.get("selectors", []))
            for namespace in config.get("namespaces", {}).get("names", [""]):
                watching = (spec, namespace, selector, found.of(f"{namespace} {selector}"))
                threading.Thread(target=_follow, args=watching, daemon=True).start()
    threading.Event().wait()


def groups(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the targets of a pod: one for each port of its containers, none while it has no address."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    address = status.get("podIP")
    if not address:
        return []
    about = {
        "namespace": metadata["namespace"],
        "pod_name": metadata["name"],
        "pod_ip": address,
        "pod_ready": _ready(status),
        "pod_phase": status.get("phase", ""),
        "pod_node_name": spec.get("nodeName", ""),
        "pod_host_ip": status.get("hostIP", ""),
        "pod_uid": metadata["uid"],
    }
    for owner in metadata.get("ownerReferences", []):
        if owner.get("controller"):
            about |= {"pod_controller_kind": owner["kind"], "pod_controller_name": owner["name"]}
    for kind in "label", "annotation":
        for name, value in metadata.get(f"{kind}s", {}).items():
            plain = re.sub(r"[^a-zA-Z0-9_]", "_", name)
            about |= {f"pod_{kind}_{plain}": value, f"pod_{kind}present_{plain}": "true"}
    found = []
    for kind in "containers", "initContainers":
        for container in spec.get(kind, []):
            own = {
                "pod_container_name": container["name"],
                "pod_container_image": container["image"],
                "pod_container_init": "true" if kind == "initContainers" else "false",
            }
            for port in container.get("ports", []) or [{}]:
                number = str(port.get("containerPort", ""))
                named = {
                    "pod_container_port_number": number,
                    "pod_container_port_name": port.get("name", ""),
                    "pod_container_port_protocol": port.get("protocol", ""),
                }
                labels = about | own | (named if number else {})
                target = f"{address}:{number}" if number else address
                labels = {f"__meta_kubernetes_{name}": value for name, value in labels.items()}
                found.append({"targets": [target], "labels": labels})
    return found


def _ready(status: dict[str, Any]) -> str:
    said = [one["status"] for one in status.get("conditions", []) if one["type"] == "Ready"]
    return said[0].lower() if said else "unknown"


class _Found:
    """The pods of a job, from one watch or several; each change is written."""

    def __init__(self, write: Callable[[list[dict[str, Any]]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._pods: dict[str, Pods] = {}

    def of(self, watch: str) -> Callable[[Pods], None]:
        """Return what takes over all pods that a watch knows."""

        def take(pods: Pods) -> None:
            with self._lock:
                self._pods[watch] = pods
                self._write([group for pods in self._pods.values() for pod in pods.values() for group in groups(pod)])

        return take


def _follow(spec: Spec, namespace: str, selector: str, take: Callable[[Pods], None]) -> None:
    """List and watch pods; while the API server is away, the last ones stay."""
    path = f"/api/v1/namespaces/{namespace}/pods" if namespace else "/api/v1/pods"
    while True:
        try:
            listed = next(_ask(spec, path, labelSelector=selector))
            pods: Pods = {pod["metadata"]["uid"]: pod for pod in listed["items"]}
            take(pods)
            version = listed["metadata"]["resourceVersion"]
            options = {"watch": 1, "timeoutSeconds": PATIENCE, "resourceVersion": version}
            for event in _ask(spec, path, labelSelector=selector, **options):
                pod = event["object"]
                if event["type"] == "ERROR":
                    break  # the version is too old: list again
                if event["type"] == "DELETED":
                    pods.pop(pod["metadata"]["uid"], None)
                else:
                    pods[pod["metadata"]["uid"]] = pod
                take(pods)
        except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
            say(f"{path}: {error!r}; asking again")
            time.sleep(1)


def _ask(spec: Spec, path: str, **options: object) -> Iterator[dict[str, Any]]:
    """Ask the API server as the administrator and return the lines of its answer."""
    pki = spec.home / "pki"
    trust = ssl.create_default_context(cafile=pki / "ca.crt")
    trust.load_cert_chain(pki / "client-kubeconfig.crt", pki / "client-kubeconfig.key")
    connection = http.client.HTTPSConnection(str(spec.host_address), 6443, context=trust, timeout=PATIENCE + 10)
    with contextlib.closing(connection):
        connection.request("GET", f"{path}?{urlencode(options)}")
        answer = connection.getresponse()
        if answer.status != 200:
            raise OSError(f"{answer.status} {answer.read().decode(errors='replace')[:200]}")
        for line in answer:
            yield json.loads(line)
