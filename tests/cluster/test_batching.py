"""Priorities that change under a running model server on a real node: the kubelet brings them, and no pod restarts."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec

from .support import NAMESPACE, ask, eventually, get, serving_pods

pytestmark = pytest.mark.usefixtures("examples")

NAME = "embed"
KUBELET_SECONDS = 120  # a kubelet looks at the ConfigMaps of its pods each minute or so, unless told otherwise


@pytest.fixture
def pod(demo: Spec) -> Iterator[dict[str, Any]]:
    """The one pod of a ModelService, whose priorities are gone again at the end."""
    (found,) = serving_pods(demo, NAME)
    yield found
    prioritize(demo, None)


def prioritize(spec: Spec, priorities: list[dict[str, Any]] | None) -> None:
    patch = json.dumps({"spec": {"priorities": priorities}})
    kubectl(spec, "patch", f"msvc/{NAME}", f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")


def classes(pod: dict[str, Any]) -> set[str]:
    """Return the names of the classes that the server has queues for."""
    lines = ask(f"{pod['status']['podIP']}:8000", "/metrics").splitlines()
    return {line.split('"')[1] for line in lines if line.startswith("springtide_queue_depth{")}


def embeds(pod: dict[str, Any], priority: str) -> bool:
    request = urllib.request.Request(
        f"http://{pod['status']['podIP']}:8000/v1/embeddings",
        json.dumps({"model": NAME, "input": "high tide"}).encode(),
        {"Content-Type": "application/json", "X-Priority": priority},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        return bool(response.status == 200)


def test_priorities_reach_a_running_server(demo: Spec, pod: dict[str, Any]) -> None:
    assert "gold" not in classes(pod)
    deployment = get(demo, "deployment", f"{NAME}-cpu")
    prioritize(demo, [{"name": "gold", "reservedPercent": 30}, {"name": "rest"}])
    eventually(lambda: classes(pod) == {"gold", "rest"}, "the server to have the new classes", KUBELET_SECONDS)
    assert embeds(pod, "gold")

    prioritize(demo, None)
    eventually(lambda: "standard" in classes(pod), "the server to have its own classes again", KUBELET_SECONDS)
    assert embeds(pod, "critical")
    (now,) = serving_pods(demo, NAME)
    assert now["metadata"]["uid"] == pod["metadata"]["uid"]
    assert [one["restartCount"] for one in now["status"]["containerStatuses"]] == [
        one["restartCount"] for one in pod["status"]["containerStatuses"]
    ]
    assert get(demo, "deployment", f"{NAME}-cpu")["metadata"]["generation"] == deployment["metadata"]["generation"]
