"""Who holds the Lease: the rules on values, then whole elections on virtual time with a network that loses things."""

import asyncio
import copy
import random
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any

import pytest

from springtide.api.errors import Conflict, Unavailable
from springtide.clients.cluster import Kind, Object
from springtide.controllers.leadership import Leadership
from springtide.controllers.lease import Election, Seen, may_take, released, see, taken

ME = Election("system", "springtide-operator", "me")
OTHER = Election("system", "springtide-operator", "other")
STAMP = "2026-01-01T00:00:00.000000Z"


def test_only_a_record_that_stands_still_runs_out() -> None:
    lease = taken(None, OTHER, "1999-01-01T00:00:00.000000Z")  # whatever the other's clock says
    seen = see(None, lease, 100)
    assert not may_take(seen, ME, 114.9)
    assert may_take(seen, ME, 115)
    labelled = lease | {"metadata": lease["metadata"] | {"labels": {"a": "b"}}}
    assert see(seen, labelled, 110).at == 100, "a label is no renewal"
    renewed = see(seen, taken(lease, OTHER, STAMP), 110)
    assert not may_take(renewed, ME, 124.9)
    assert may_take(renewed, ME, 125)


def test_a_free_lease_and_ones_own_are_taken_at_once() -> None:
    lease = taken(None, OTHER, STAMP)
    assert may_take(see(None, lease, 0), OTHER, 0)
    assert may_take(see(None, released(lease, STAMP), 0), ME, 0)
    assert may_take(see(None, {"metadata": {}}, 0), ME, 0)


def test_the_time_is_that_of_the_record() -> None:
    lease = taken(None, OTHER, STAMP)
    lease["spec"]["leaseDurationSeconds"] = 60
    assert not may_take(Seen(lease, 0), ME, 59)
    assert may_take(Seen(lease, 0), ME, 60)


def test_what_is_written() -> None:
    first = taken(None, OTHER, "a")
    assert first["spec"] == {
        "holderIdentity": "other",
        "leaseDurationSeconds": 15,
        "acquireTime": "a",
        "renewTime": "a",
        "leaseTransitions": 0,
    }
    first["metadata"]["labels"] = {"kept": "yes"}
    first["spec"]["strategy"] = "kept"
    renewed = taken(first, OTHER, "b")
    assert renewed["spec"] == first["spec"] | {"renewTime": "b"}
    won = taken(renewed, ME, "c")
    assert won["metadata"] == first["metadata"]
    assert won["spec"] == renewed["spec"] | {
        "holderIdentity": "me",
        "acquireTime": "c",
        "renewTime": "c",
        "leaseTransitions": 1,
    }
    free = released(won, "d")["spec"]
    assert (free["holderIdentity"], free["leaseDurationSeconds"], free["leaseTransitions"]) == ("", 1, 1)


class Server:
    """Keeps one Lease as an API server does."""

    def __init__(self) -> None:
        self.lease: Object | None = None
        self.writes = 0

    def write(self, body: Mapping[str, Any], *, new: bool) -> Object:
        before = self.lease["metadata"]["resourceVersion"] if self.lease else None
        if new != (before is None) or (not new and body["metadata"]["resourceVersion"] != before):
            raise Conflict("someone wrote in between")
        self.writes += 1
        made = copy.deepcopy(dict(body))
        made["metadata"]["resourceVersion"] = str(self.writes)
        self.lease = made
        return copy.deepcopy(made)


class Network:
    """One operator's way to the server."""

    def __init__(self, server: Server, chance: random.Random | None = None) -> None:
        self.server = server
        self.cut = False
        self._chance = chance

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        await self._travel()
        found = copy.deepcopy(self.server.lease)
        await self._travel()
        return found

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        await self._travel()
        made = self.server.write(body, new=True)
        await self._travel()
        return made

    async def update(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        await self._travel()
        made = self.server.write(body, new=False)
        await self._travel()
        return made

    async def _travel(self) -> None:
        if self.cut:
            await asyncio.sleep(3600)
        if self._chance is None:
            return
        fate = self._chance.random()
        if fate < 0.03:
            raise Unavailable("connection reset")
        # Now and then an answer takes far longer than anyone waits; the write may have been done all the same.
        await asyncio.sleep(self._chance.uniform(5, 40) if fate < 0.1 else self._chance.uniform(0, 0.5))


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer, so that minutes take no time."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(Jump(self))

    def time(self) -> float:
        return self.now


class Jump(selectors.SelectSelector):
    """Instead of waiting, moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout:
            self._loop.now += timeout
        return super().select(0)


def play(story: Coroutine[Any, Any, None]) -> None:
    """Run a story on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(story)


def member(network: Network, election: Election) -> Leadership:
    return Leadership(network, election, asyncio.get_running_loop().time)


def test_a_successor_waits_for_the_lease_and_the_holder_has_stopped_before() -> None:
    async def story() -> None:
        server, clock = Server(), asyncio.get_running_loop().time
        way = Network(server)
        old, new = member(way, OTHER), member(Network(server), ME)
        await old.acquire()
        holding, waiting = asyncio.create_task(old.hold()), asyncio.create_task(new.acquire())
        await asyncio.sleep(60)
        assert old.leads()
        assert not waiting.done()
        way.cut, cut = True, clock()
        why = await holding
        assert why == "the lease was not renewed within 10 s: no answer within 2.0 s"
        assert clock() - cut <= 10
        assert not old.leads()
        assert not waiting.done()
        await waiting
        # One look passes until the last renewal is seen, and one until the lease is found to have run out.
        assert 15 - 2 <= clock() - cut <= 15 + 2 * 2.4
        assert new.leads()

    play(story())


def test_a_released_lease_is_taken_at_the_next_look() -> None:
    async def story() -> None:
        server, clock = Server(), asyncio.get_running_loop().time
        old, new = member(Network(server), OTHER), member(Network(server), ME)
        await old.acquire()
        waiting = asyncio.create_task(new.acquire())
        await asyncio.sleep(1)
        await old.release()
        assert not old.leads()
        await waiting
        assert clock() <= 1 + 2.4

    play(story())


def test_the_same_identity_takes_its_own_lease_back_at_once() -> None:
    async def story() -> None:
        server = Server()
        await member(Network(server), ME).acquire()
        again = member(Network(server), ME)
        await again.acquire()
        assert asyncio.get_running_loop().time() == 0
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 0

    play(story())


def test_who_slept_through_its_lease_sends_nothing() -> None:
    async def story() -> None:
        server, sleeps = Server(), 0.0
        loop = asyncio.get_running_loop()
        sleeper = Leadership(Network(server), ME, lambda: loop.time() + sleeps)
        await sleeper.acquire()
        holding = asyncio.create_task(sleeper.hold())
        await asyncio.sleep(5)
        writes, sleeps = server.writes, 30.0
        assert not sleeper.leads(), "before anything else of it runs"
        assert "not renewed within 10 s" in await holding
        assert server.writes == writes

    play(story())


def test_a_holder_that_was_replaced_stops_at_once() -> None:
    async def story() -> None:
        server = Server()
        holder = member(Network(server), ME)
        await holder.acquire()
        assert server.lease is not None
        server.write(taken(server.lease, OTHER, STAMP), new=False)
        assert await holder.hold() == "other took the lease"
        assert not holder.leads()
        assert asyncio.get_running_loop().time() <= 2
        await holder.release()
        assert server.lease["spec"]["holderIdentity"] == "other"

    play(story())


def test_a_lease_that_someone_deletes_or_labels_stays() -> None:
    async def story() -> None:
        server = Server()
        holder = member(Network(server), ME)
        await holder.acquire()
        holding = asyncio.create_task(holder.hold())
        assert server.lease is not None
        server.write(server.lease | {"metadata": server.lease["metadata"] | {"labels": {"a": "b"}}}, new=False)
        await asyncio.sleep(20)
        server.lease = None
        await asyncio.sleep(20)
        assert holder.leads()
        assert not holding.done()

    play(story())


def test_what_stands_in_the_way_is_told() -> None:
    async def story() -> None:
        way = Network(Server())
        standby = member(way, ME)
        assert standby.problem()
        way.cut = True
        waiting = asyncio.create_task(standby.acquire())
        await asyncio.sleep(5)
        assert standby.problem() == "no answer within 4.0 s"
        way.cut = False
        await waiting
        assert standby.problem() == ""

    play(story())


@pytest.mark.parametrize("seed", range(6))
def test_there_are_never_two(seed: int) -> None:
    """Three operators that start again whenever they lose, on a network that hangs, breaks and answers late."""

    async def operator(way: Network, name: str, members: dict[str, Leadership], chance: random.Random) -> None:
        while True:
            members[name] = member(way, Election("system", "x", name))
            await members[name].acquire()
            holding = asyncio.create_task(members[name].hold())
            await asyncio.wait({holding}, timeout=chance.uniform(1, 200))
            holding.cancel()
            if chance.random() < 0.5:
                await members[name].release()
            else:  # killed; a new process has a new name
                members[name].leads = lambda: False  # type: ignore[method-assign]
                name += "'"

    async def story() -> None:
        chance, server = random.Random(seed), Server()  # noqa: S311
        members: dict[str, Leadership] = {}
        ways = [Network(server, chance) for _ in range(3)]
        tasks = [asyncio.create_task(operator(way, f"o{n}", members, chance)) for n, way in enumerate(ways)]
        led: set[str] = set()
        for _ in range(10_000):
            await asyncio.sleep(0.1)
            leading = {name for name, one in members.items() if one.leads()}
            assert len(leading) <= 1, leading
            led |= leading
        for task in tasks:
            task.cancel()
        assert len(led) > 3

    play(story())
