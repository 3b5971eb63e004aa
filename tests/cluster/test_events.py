"""Events of a ModelService, as `kubectl describe` shows them."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec

from .support import NAMESPACE, eventually, get


def describe(spec: Spec, service: str) -> str:
    """The Events that a user sees."""
    return kubectl(spec, "describe", "msvc", service, f"--namespace={NAMESPACE}").split("\nEvents:")[1]


def events(spec: Spec, service: str) -> list[dict[str, Any]]:
    uid = get(spec, "modelservice", service)["metadata"]["uid"]
    return [one for one in get(spec, "events.events.k8s.io") if one["regarding"].get("uid") == uid]


def test_a_service_that_became_available_says_so(demo: Spec) -> None:
    line = next(line for line in describe(demo, "chat").splitlines() if "Available" in line)
    assert line.split()[:2] == ["Normal", "Available"]
    assert "springtide.dev/operator" in line and "replica(s) answer" in line


def test_a_crash_that_repeats_is_one_event_with_a_count(demo: Spec, crashing: str) -> None:
    def counted() -> bool:
        return any((one.get("series") or {}).get("count", 1) >= 2 for one in events(demo, crashing))

    # told once a minute at most, and a crash repeats ever more slowly
    eventually(counted, "an Event to be counted", 240)
    repeated = next(one for one in events(demo, crashing) if (one.get("series") or {}).get("count", 1) >= 2)
    line = next(line for line in describe(demo, crashing).splitlines() if f" {repeated['reason']} " in line)
    assert line.split()[0] == "Warning"
    assert f"(x{repeated['series']['count']} over" in line
    assert "--no-such-flag" in line, "it says what the server said last"
    several = Counter((one["reason"], one["note"]) for one in events(demo, crashing)).most_common(1)
    assert several[0][1] == 1, events(demo, crashing)
