"""The operator is killed with every one of its writes, and the end is that of a run without a kill."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.api.support import eventually
from tests.faults.support import Rig, state

_IMAGE = "oci://models.springtide.dev/chat"
_AT_ONCE = 6


def run_scenario(rig: Rig) -> None:
    """Two services; one loses a pool and gets another model, the other is scaled and gets other resources."""
    api = rig.api
    pools = [{"name": "x"}, {"name": "y", "tier": "Offline"}]
    api.create("a", model={"uri": _IMAGE, "revision": "v1"}, pools=pools, replicas=0)
    api.create("b", replicas=0)
    eventually(lambda: rig.settled("a", "b"), 60)
    api.edit("a", {"model": {"uri": _IMAGE, "revision": "v2"}, "pools": pools[:1]})
    resources = {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "2Gi"}}
    api.edit("b", {"replicas": 2, "pools": [{"name": "cpu", "resources": resources}]})
    eventually(lambda: rig.settled("a", "b"), 60)


def test_a_kill_with_any_write_changes_nothing_in_the_end(make_rig: Callable[..., Rig]) -> None:
    whole = make_rig("kill-never")
    whole.start()
    run_scenario(whole)
    wanted = eventually(lambda: unchanged(whole), 60)
    assert {name for name in wanted if name.startswith("Deployment")} == {"Deployment a-x", "Deployment b-cpu"}
    # After each write; and where its answer was lost as well, after every third: these runs take the longest.
    writes = range(1, whole.proxy.writes + 1)
    runs = [(write, answered) for write in writes for answered in (True, False) if answered or write % 3 == 0]

    def run(which: tuple[int, bool]) -> tuple[int, Any]:
        write, answered = which
        rig = make_rig(f"kill-{write}-{'after' if answered else 'before'}")
        rig.kill_after(write, answered=answered)
        rig.start()
        rig.keep_running(wait=0.0)
        try:
            run_scenario(rig)
            eventually(lambda: state(rig.api) == wanted, 60)
        except AssertionError as error:
            return len(rig.ends), (str(error), state(rig.api), rig.trace())
        finally:
            rig.close()
        return len(rig.ends), None

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = dict(zip(runs, pool.map(run, runs), strict=True))
    different = {str(which): found for which, (_, found) in done.items() if found}
    assert not different, json.dumps(different, indent=1, default=str)
    # The number of status writes differs from run to run, so that the last ones are not there in every run.
    kills = sum(kills for kills, _ in done.values())
    assert kills >= len(runs) * 0.75
    print(f"killed {kills} times in {len(runs)} runs")


def differing(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    names = wanted.keys() | found.keys()
    return {name: (wanted.get(name), found.get(name)) for name in sorted(names) if wanted.get(name) != found.get(name)}


def unchanged(rig: Rig) -> dict[str, Any]:
    """Return the state if nothing is written for two seconds; else nothing."""
    before = rig.proxy.writes
    time.sleep(2)
    return state(rig.api) if rig.proxy.writes == before else {}
