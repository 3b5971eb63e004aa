"""Drills in which events are lost or come too late, and others write at the same time; see conftest."""

import random
import time

from tests.api.support import DEPLOYMENTS, MODEL_SERVICES, SERVICES, eventually
from tests.faults.outages import ALL, MakeRig, change, prepare, recover
from tests.faults.support import Rig, unchanged

_GONE = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
# A comparison each 24 s at most, which waits 2 s for late events of each kind of which something was missed.
_RESYNC = ("--resync-seconds", "20")
_ONE_COMPARISON = 24 + 4 * 2 + 10


def lost_by_relist(make: MakeRig) -> str:
    """The watches fall silent, objects are deleted, and the watches end with 410 Gone: no DELETED ever comes."""
    rig = make("gone", *_RESYNC)
    prepare(rig)
    pid = rig.pid
    rig.proxy.freeze(*ALL, later=False)
    change(rig)
    for kind in ALL:
        rig.proxy.say(kind, _GONE)
    took = recover(rig, _ONE_COMPARISON)
    assert rig.pid == pid
    assert missed(rig), "the drill did not hide the deletions"
    return f"in order after {took:.1f} s; found by the comparison: {missed(rig)}"


def lost_behind_a_cut(make: MakeRig) -> str:
    """The connection is cut while objects are deleted, and each kind is twice told 410 Gone when it watches again."""
    rig = make("cut", *_RESYNC)
    prepare(rig)
    pid = rig.pid
    rig.proxy.refuse()
    change(rig)
    for kind in ALL:
        rig.proxy.answer(410, verbs=["watch"], kinds=[kind], times=2, as_event=True)
    rig.proxy.accept()
    took = recover(rig, _ONE_COMPARISON)
    assert rig.pid == pid
    assert missed(rig), "the drill did not hide the deletions"
    return f"in order after {took:.1f} s; found by the comparison: {missed(rig)}"


def gone_by_status(make: MakeRig) -> str:
    """A watch is refused with HTTP 410 instead of an event: it recovers, or ends to be started again."""
    rig = make("gone-status", *_RESYNC)
    prepare(rig)
    rig.keep_running(wait=1.0)
    rig.proxy.answer(410, verbs=["watch"], times=1)
    rig.proxy.cut()
    change(rig)
    took = recover(rig, _ONE_COMPARISON)
    assert all(code != 0 for _, code in rig.ends)
    return f"in order after {took:.1f} s; exits: {[code for _, code in rig.ends]}"


def dropped(make: MakeRig) -> str:
    """Three of ten events are lost, deletions among them, all the time."""
    rig = make("dropped", *_RESYNC)
    rig.start()
    rig.proxy.drop = 0.3
    chance = random.Random(3)  # noqa: S311
    names = [f"s{number}" for number in range(6)]
    replicas: dict[str, int] = {}
    end = time.monotonic() + 30
    while time.monotonic() < end:
        name = chance.choice(names)
        if name not in replicas:
            replicas[name] = 0
            rig.api.create(name, replicas=0)
        elif chance.random() < 0.2:
            del replicas[name]
            rig.api.delete(MODEL_SERVICES, name)
        else:
            replicas[name] = chance.randrange(3)
            rig.api.edit(name, {"replicas": replicas[name]})
        time.sleep(0.4)
    began = time.monotonic()

    def right() -> bool:
        live = {name: one["spec"]["replicas"] for name, one in rig.api.list(DEPLOYMENTS).items()}
        wanted = {f"{name}-cpu": count for name, count in replicas.items()}
        services = {*wanted, *replicas}
        return live == wanted and rig.api.list(SERVICES).keys() == services

    eventually(right, _ONE_COMPARISON)
    specs = time.monotonic() - began
    # The events by which a status follows are dropped as well, so it may take one comparison more.
    eventually(lambda: right() and rig.settled(*replicas), _ONE_COMPARISON)
    took = time.monotonic() - began
    assert rig.proxy.dropped > 10
    return f"{rig.proxy.dropped} events dropped; children right after {specs:.1f} s, statuses after {took:.1f} s"


def second_writer(make: MakeRig) -> str:
    """Someone writes to a ModelService ten times a second for 20 s, each tenth time to its spec."""
    rig = make("writer")
    rig.start()
    rig.api.create("busy", replicas=0)
    eventually(lambda: rig.settled("busy"), 30)
    rig.proxy.delay = 0.1  # so that most status writes come too late
    began = time.monotonic()
    number = -1
    while time.monotonic() < began + 20:
        number += 1
        time.sleep(max(0.0, began + number / 10 - time.monotonic()))
        if number % 10 == 0:
            last = f"oci://models.springtide.dev/chat:v{number}"
            rig.api.edit("busy", {"model": {"uri": last}})
        else:
            body = {"metadata": {"annotations": {"number": str(number)}}}
            rig.api.patch(f"{MODEL_SERVICES}/busy", body)
    storm = time.monotonic() - began
    calls = [call for call in rig.proxy.since(began) if call.verb != "watch"]
    eventually(lambda: rig.settled("busy"), 10)
    took = time.monotonic() - began - storm
    image = rig.api.get(DEPLOYMENTS, "busy-cpu")["spec"]["template"]["spec"]["volumes"]
    assert image[0]["image"]["reference"] == last.removeprefix("oci://")
    conflicts = sum(call.status == 409 for call in calls)
    # A reconcile follows a write at most, with at most one apply and one status write.
    assert len(calls) <= 2 * number + 2, len(calls)
    return (
        f"status right {took:.1f} s after {storm:.0f} s with {number + 1} writes; "
        f"{len(calls)} requests, {conflicts} conflicts"
    )


def conflicts(make: MakeRig) -> str:
    """Applies and status writes are answered 409 several times each."""
    rig = make("conflicts")
    rig.start()
    for verb in ("apply", "patch_status"):
        rig.proxy.answer(409, verbs=[verb], times=6)
    began = time.monotonic()
    rig.api.create("contested", replicas=0)
    eventually(lambda: rig.settled("contested"), 30)
    took = time.monotonic() - began
    assert all(rule.seen > 6 for rule in rig.proxy.rules)
    return f"in order after {took:.1f} s and 12 conflicts"


def two_operators(make: MakeRig) -> str:
    """Two operators serve one namespace for half a minute: no field flaps, nothing is made twice."""
    rig = make("two")
    rig.start()
    rig.start()
    names = ("one", "two", "three")
    for name in names:
        rig.api.create(name, replicas=0)
    edits = 0
    for number in range(15):
        for name in names:
            rig.api.edit(name, {"replicas": 1 - number % 2})
        edits += 1
        if number == 7:
            rig.api.delete(SERVICES, "one")
            rig.api.delete(DEPLOYMENTS, "two-cpu")
        time.sleep(2)
    eventually(lambda: rig.settled(*names), 30)
    eventually(lambda: unchanged(rig.api), 30)
    for name in names:
        live = rig.api.get(DEPLOYMENTS, f"{name}-cpu")
        # A generation for each edit and one to begin with; more would be a field that flapped.
        assert live["metadata"]["generation"] <= edits + 1, live["metadata"]
        assert live["spec"]["replicas"] == 1
    assert all(process.is_alive() for _, _, process in rig.starts)
    return f"{rig.proxy.writes} writes for {3 * edits} edits by two operators"


def missed(rig: Rig) -> list[str]:
    """Return what the log says of changes that no watch told of."""
    return [record["message"] for record in rig.records() if "missed" in record["message"]]


EVENTS = (lost_by_relist, lost_behind_a_cut, gone_by_status, dropped, second_writer, conflicts, two_operators)
