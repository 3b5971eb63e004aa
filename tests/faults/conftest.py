"""Operators behind fault proxies, each in a namespace of its own of one real API server."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.certificate import Certificate
from tests.faults.events import EVENTS
from tests.faults.outages import OUTAGES
from tests.faults.support import Rig

MakeRig = Callable[..., Rig]
# The outages mostly wait for time to pass; the others need the processor.
_EVENTS_AT_ONCE = 2


@pytest.fixture(scope="session")
def make_rig(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeRig]:
    """Make an operator behind a proxy, from any thread; all that were made end with the session."""
    folder = tmp_path_factory.mktemp("faults")
    certificate = Certificate(folder)
    made: list[Rig] = []

    def make(name: str, *arguments: str) -> Rig:
        rig = Rig(kubeconfig, certificate, name, folder, *arguments)
        made.append(rig)
        return rig

    yield make
    for rig in made:
        rig.close()


@pytest.fixture(scope="session", autouse=True)
def drills(request: pytest.FixtureRequest) -> Iterator[dict[str, "Future[str]"]]:
    """Start the drills that were chosen, so that they share the minutes that they wait; their tests get the results."""
    chosen = {item.callspec.params.get("drill") for item in request.session.items if hasattr(item, "callspec")}
    outages, events = ([one for one in some if one.__name__ in chosen] for some in (OUTAGES, EVENTS))
    if not outages and not events:
        yield {}
        return
    make = request.getfixturevalue("make_rig")
    with ThreadPoolExecutor(len(outages) or 1) as many, ThreadPoolExecutor(_EVENTS_AT_ONCE) as few:
        running = {one.__name__: many.submit(one, make) for one in outages}
        running |= {one.__name__: few.submit(one, make) for one in events}
        yield running
        for future in running.values():
            future.cancel()
