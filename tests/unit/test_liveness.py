"""The operator is alive while it hears of the cluster."""

import pytest

from springtide.api.errors import Unavailable
from springtide.clients.cluster import DEPLOYMENT, MODEL_SERVICE, POD, SERVICE, Kind, Object
from springtide.controllers.cache import Cache
from springtide.controllers.handlers import _observer
from springtide.controllers.listing import WATCHED, Listing
from springtide.controllers.liveness import SILENT_SECONDS, Liveness
from springtide.controllers.queue import WorkQueue
from tests.unit.test_reconcile import MemoryCluster, ready_pod


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Patchy(MemoryCluster):
    """A cluster that can't list some kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.away: set[Kind] = set()

    async def list(
        self, kind: Kind, namespace: str | None, labels: str = "", *, metadata: bool = False
    ) -> list[Object]:
        if kind in self.away:
            raise Unavailable("timeout")
        return await super().list(kind, namespace, labels, metadata=metadata)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def liveness(clock: Clock) -> Liveness:
    return Liveness(WATCHED, clock)


async def test_lists_are_enough_where_nothing_happens(clock: Clock, liveness: Liveness) -> None:
    listing = Listing(Patchy(), Cache(), WorkQueue(), [None], liveness)
    for _ in range(20):
        clock.now += 216
        await listing.compare()
        assert liveness.silent() == ""


async def test_a_kind_without_events_and_lists_is_named(clock: Clock, liveness: Liveness) -> None:
    cluster = Patchy()
    cluster.away = {SERVICE, POD}
    listing = Listing(cluster, Cache(), WorkQueue(), [None], liveness)
    observe = _observer(POD, Cache(), WorkQueue(), liveness)
    for version in range(5):
        clock.now += 216
        with pytest.raises(Unavailable):
            await listing.compare()
        pod = ready_pod()
        pod["metadata"]["resourceVersion"] = str(version)
        await observe(event={"type": "MODIFIED", "object": pod})
    assert liveness.silent() == "no watch event and no complete LIST for 15 minutes of: " + ", ".join(
        kind.kind for kind in WATCHED if kind not in {MODEL_SERVICE, DEPLOYMENT, POD}
    )
    cluster.away.clear()
    await listing.compare()
    assert liveness.silent() == ""


def test_an_api_server_that_is_briefly_down_changes_nothing(clock: Clock, liveness: Liveness) -> None:
    clock.now += 216 * 3 + 2 * 120  # Three comparisons are missed, each of them by a LIST that hangs.
    assert clock.now < SILENT_SECONDS
    assert liveness.silent() == ""
    clock.now = SILENT_SECONDS + 1
    assert liveness.silent().endswith(", ".join(kind.kind for kind in WATCHED))
