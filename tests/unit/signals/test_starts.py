"""How long a replica takes to become ready, by phase."""

from copy import deepcopy
from typing import Any

import pytest

from springtide.signals.starts import Start, percentile, read_start


def time(seconds: int) -> str:
    return f"2026-11-23T10:{seconds // 60:02}:{seconds % 60:02}Z"


def pod(**changes: Any) -> dict[str, Any]:
    """A live pod: created at 0 s, on a node at 3, fetches from 20 to 80, runs at 95, is ready at 155."""
    conditions = [
        {"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": time(6)},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": time(3)},
        {"type": "Ready", "status": "True", "lastTransitionTime": time(155)},
    ]
    fetched = {"terminated": {"exitCode": 0, "startedAt": time(20), "finishedAt": time(80)}}
    status = {
        "conditions": conditions,
        "initContainerStatuses": [{"name": "fetch-model", "restartCount": 0, "state": fetched}],
        "containerStatuses": [
            {"name": "model-server", "restartCount": 0, "state": {"running": {"startedAt": time(95)}}}
        ],
    }
    return {"metadata": {"creationTimestamp": time(0)}, "status": status | changes}


def test_phases() -> None:
    start = read_start(pod())
    assert start == Start(schedule=3, pull=32, fetch=60, load=60)
    assert start.total == 155
    warm = read_start(pod(), warm_up_seconds=12.5)
    assert warm == Start(3, 32, 60, 47.5, 12.5)
    assert warm.total == 155


def test_a_pod_without_init_containers() -> None:
    live = pod()
    del live["status"]["initContainerStatuses"]
    assert read_start(live) == Start(schedule=3, pull=92, fetch=0, load=60)


@pytest.mark.parametrize("gone", ["PodScheduled", "Ready"])
def test_not_ready_yet(gone: str) -> None:
    live = pod()
    for condition in live["status"]["conditions"]:
        if condition["type"] == gone:
            condition["status"] = "False"
    assert read_start(live) is None
    live["status"]["conditions"] = [one for one in live["status"]["conditions"] if one["type"] != gone]
    assert read_start(live) is None


@pytest.mark.parametrize(
    "live",
    [
        {},
        {"metadata": {"creationTimestamp": "yesterday"}, "status": pod()["status"]},
        pod(containerStatuses=[]),
        pod(containerStatuses=[{"name": "model-server", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]),
        pod(containerStatuses=[{"restartCount": 1, "state": {"running": {"startedAt": time(95)}}}]),
        pod(initContainerStatuses=[{"restartCount": 2, "state": {}}]),
    ],
)
def test_what_can_not_be_told(live: dict[str, Any]) -> None:
    assert read_start(live) is None


def test_clocks_of_nodes_differ() -> None:
    early = deepcopy(pod())
    early["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = time(1)
    start = read_start(early)
    assert start == Start(schedule=3, pull=0, fetch=0, load=152)
    late_created = deepcopy(pod())
    late_created["metadata"]["creationTimestamp"] = time(5)
    assert read_start(late_created) == Start(schedule=0, pull=30, fetch=60, load=60)
    late = deepcopy(pod())
    late["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] = time(300)
    start = read_start(late, warm_up_seconds=10)
    assert start is not None
    assert min(start.load, start.warm_up, start.pull) >= 0
    assert start.total == 300


@pytest.mark.parametrize(("percent", "value"), [(0, 1), (50, 2), (51, 3), (95, 4), (100, 4)])
def test_nearest_rank(percent: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], percent) == value
