"""The wall clock of the operator goes back an hour, as after a failover to a machine whose clock is right."""

from collections.abc import Callable
from typing import Any

from tests.api.support import SERVICES, Api, eventually
from tests.faults.support import Rig


def times(api: Api, accepted: str = "") -> dict[str, tuple[str, str]]:
    """Return the status and the time of each condition; nothing while Accepted is not as it is to be."""
    found = {one["type"]: (one["status"], one["lastTransitionTime"]) for one in api.status("timed")["conditions"]}
    return found if accepted in {"", found["Accepted"][0]} else {}


def test_transitions_never_go_back(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig("clock")
    rig.clock_hours = 1.0
    rig.start()
    rig.api.create("timed", replicas=0)
    eventually(lambda: rig.settled("timed"), 30)
    before = times(rig.api)
    assert rig.stop() == 0

    rig.clock_hours = 0.0
    rig.start()
    assert times(rig.api) == before, "a restart is no transition"
    port: dict[str, Any] = {"ports": [{"port": 1}]}
    rig.api.call("POST", SERVICES, {"metadata": {"name": "timed-extra"}, "spec": port})
    rig.api.edit("timed", {"pools": [{"name": "cpu"}, {"name": "extra"}]})
    refused = eventually(lambda: times(rig.api, "False"), 30)
    newest = max(time for _, time in before.values())
    assert refused["Accepted"][1] >= newest
    assert refused["Stalled"][1] >= newest, "a condition that is new"
    rig.api.delete(SERVICES, "timed-extra")
    healed = eventually(lambda: times(rig.api, "True"), 90)
    assert healed["Accepted"][1] >= refused["Accepted"][1]
