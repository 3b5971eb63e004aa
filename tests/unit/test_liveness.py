"""The operator is alive while it hears of the cluster."""

import pytest

from springtide.api.errors import Unavailable
from springtide.clients.cluster import DEPLOYMENT, MODEL_SERVICE, POD, SERVICE, TRAFFIC_FORECAST, Kind, Object
from springtide.controllers.cache import Cache
from springtide.controllers.handlers import _observer
from springtide.controllers.listing import WATCHED, Listing
from springtide.controllers.liveness import PERIOD_SECONDS, Liveness
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
        assert liveness.dead() == ""


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
    assert liveness.dead() == "no watch event and no complete LIST for 900 seconds of: " + ", ".join(
        kind.kind for kind in WATCHED if kind not in {MODEL_SERVICE, TRAFFIC_FORECAST, DEPLOYMENT, POD}
    )
    cluster.away.clear()
    await listing.compare()
    assert liveness.dead() == ""


def test_an_api_server_that_is_briefly_down_changes_nothing(clock: Clock, liveness: Liveness) -> None:
    clock.now += 216 * 3 + 2 * 120  # Three comparisons are missed, each of them by a LIST that hangs.
    assert clock.now < PERIOD_SECONDS * 5
    assert liveness.dead() == ""
    clock.now = PERIOD_SECONDS * 5 + 1
    assert liveness.dead().endswith(", ".join(kind.kind for kind in WATCHED))


def test_old_knowledge_is_told_before_it_is_a_reason_to_start_again(clock: Clock, liveness: Liveness) -> None:
    assert liveness.blind() == ""
    clock.now = PERIOD_SECONDS * 2 + 1
    assert liveness.blind().endswith(", ".join(kind.kind for kind in WATCHED))
    assert liveness.dead() == ""


def test_a_watch_that_tells_nothing_while_comparisons_find_changes_is_dead(liveness: Liveness) -> None:
    for found in (1, 0, 1):
        liveness.compared(POD, found)
        assert bool(liveness.blind()) == bool(found)
        assert liveness.dead() == ""
    liveness.compared(POD, 2)
    assert liveness.dead() == "3 comparisons found changes that the watches did not tell of: Pod"
    liveness.told(POD)
    assert liveness.dead() == liveness.blind() == ""


def test_a_watch_that_misses_something_now_and_then_is_alive(liveness: Liveness) -> None:
    for _ in range(9):
        liveness.compared(POD, 1)
        liveness.told(POD)
    assert liveness.dead() == ""


async def test_an_event_that_is_only_late_was_not_missed(liveness: Liveness, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, cache = MemoryCluster(), Cache()
    pod = ready_pod()
    name = (pod["metadata"]["namespace"], pod["metadata"]["name"])
    cluster.objects[POD, name[1]] = pod
    listing = Listing(cluster, cache, WorkQueue(), [None], liveness)

    async def event(_: float) -> None:
        cache.put(POD, pod)

    with monkeypatch.context() as patched:
        patched.setattr("springtide.controllers.listing.asyncio.sleep", event)
        assert await listing.compare() == 0
    assert liveness.blind() == ""
    monkeypatch.setattr("springtide.controllers.listing._GRACE_SECONDS", 0)
    del cluster.objects[POD, name[1]]
    assert await listing.compare() == 1
    assert cache.pods.get(name) is None
    assert "Pod" in liveness.blind()
