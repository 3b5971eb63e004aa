"""Drills in which the API server is away, deaf or slow. They run at the same time; see conftest.

Each returns what was measured. What is changed during a fault is changed directly, not through the proxy.
"""

import time
from collections.abc import Callable

from springtide.controllers.listing import WATCHED
from tests.api.support import DEPLOYMENTS, MODEL_SERVICES, SERVICES, eventually
from tests.faults.proxy import Proxy
from tests.faults.support import Rig, unchanged

MakeRig = Callable[..., Rig]
ALL = ("modelservices", "deployments", "services", "pods")
SECONDS = 180.0


def prepare(rig: Rig) -> None:
    """Start, and have services that are in order."""
    rig.start()
    for name in ("edited", "deleted", "bereft"):
        rig.api.create(name, replicas=0)
    eventually(lambda: rig.settled("edited", "deleted", "bereft"), 60)


def change(rig: Rig) -> None:
    """Create, edit and delete ModelServices, and delete children."""
    rig.api.create("created", replicas=0)
    rig.api.edit("edited", {"model": {"uri": "oci://models.springtide.dev/chat:v2"}})
    rig.api.edit("edited", {"replicas": 2})
    rig.api.delete(MODEL_SERVICES, "deleted")
    rig.api.delete(DEPLOYMENTS, "bereft-cpu")
    rig.api.delete(SERVICES, "bereft")


def in_order(rig: Rig) -> bool:
    """Whether what `change` did is acted on."""
    deployments, services = rig.api.list(DEPLOYMENTS), rig.api.list(SERVICES)
    return (
        deployments.keys() == {"edited-cpu", "bereft-cpu", "created-cpu"}
        and services.keys() == deployments.keys() | {"edited", "bereft", "created"}
        and deployments["edited-cpu"]["spec"]["replicas"] == 2
        and rig.settled("edited", "bereft", "created")
    )


def recover(rig: Rig, seconds: float) -> float:
    """Wait until all is in order and the health endpoints say so; return how long it took."""
    began = time.monotonic()
    try:
        eventually(lambda: in_order(rig), seconds)
        took = time.monotonic() - began
        eventually(lambda: rig.health("readyz")[0] == rig.health("healthz")[0] == 200, 60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{rig.health('readyz')} {rig.health('healthz')}\n{rig.trace()}") from error
    # Every change of a spec is a generation: more of them than edits would be a field that flaps.
    assert rig.api.get(DEPLOYMENTS, "edited-cpu")["metadata"]["generation"] <= 3
    return took


def unreachable(make: MakeRig, name: str, begin: Callable[[Proxy], None]) -> str:
    """The API server is away for three minutes: the operator says so, and recovers when it is back.

    It may end meanwhile, with an exit code that is not 0; then it is started again, as a kubelet does.
    """
    rig = make(name, "--resync-seconds", "30")
    prepare(rig)
    rig.keep_running(wait=10.0)
    began = time.monotonic()
    begin(rig.proxy)
    time.sleep(5)
    change(rig)
    unready = dead = 0.0
    while time.monotonic() < began + SECONDS:
        since = time.monotonic() - began
        if rig.health("readyz")[0] != 200:
            unready = unready or since
        else:
            # The cluster is compared each 36 s at most, and two periods of 30 s without a LIST are too many.
            assert since < 60 + 36 + 10, f"ready and blind after {since:.0f} s\n{rig.trace()}"
        if rig.health("healthz")[0] == 500:
            dead = dead or since
        time.sleep(1)
    rig.proxy.heal()
    took = recover(rig, 90)
    assert all(code != 0 for _, code in rig.ends), rig.ends
    # Five periods of 30 s without a sign; a kubelet would start it again then.
    assert dead or rig.ends, "it neither ended nor told that it was blind"
    exits = [f"exit {code} after {at - began:.0f} s" for at, code in rig.ends]
    return (
        f"in order {took:.1f} s after the end; not ready from {unready:.0f} s, not healthy from {dead:.0f} s; {exits}"
    )


def refused(make: MakeRig) -> str:
    return unreachable(make, "refused", Proxy.refuse)


def swallowed(make: MakeRig) -> str:
    return unreachable(make, "swallowed", Proxy.swallow)


def forbidden(make: MakeRig) -> str:
    return unreachable(make, "forbidden", lambda proxy: _cut_and_answer(proxy, 403))


def broken(make: MakeRig) -> str:
    return unreachable(make, "broken", lambda proxy: _cut_and_answer(proxy, 503))


def _cut_and_answer(proxy: Proxy, status: int) -> None:
    proxy.answer(status)
    proxy.cut()


def dead_watches(make: MakeRig) -> str:
    """The open watches say nothing any more, not even bookmarks, and nothing ends them; new ones would work."""
    rig = make("dead-watches", "--resync-seconds", "600")
    prepare(rig)
    rig.proxy.freeze(*ALL, later=False)
    change(rig)
    # They are connected anew after 70 silent seconds; the cache is not compared within eight minutes.
    took = recover(rig, 90)
    return f"in order {took:.1f} s after the last line of a watch"


def frozen_watch(make: MakeRig) -> str:
    """The watch of ModelServices says nothing, nor does any that follows, while a service is scaled and scaled back.

    What comes late from it changes nothing.
    """
    rig = make("frozen", "--resync-seconds", "30")
    prepare(rig)
    rig.proxy.freeze("modelservices")
    began = time.monotonic()
    rig.api.edit("deleted", {"replicas": 1})  # is told when the service is known to be gone
    change(rig)
    rig.api.edit("edited", {"replicas": 8})
    rig.api.edit("edited", {"replicas": 2})
    eventually(lambda: rig.health("readyz")[0] == 500, 60)
    eventually(lambda: in_order(rig), 60)
    took = time.monotonic() - began
    # It goes on as well as it can, and asks to be started again when the watch stays dead.
    for replicas in (1, 0, 2):
        rig.api.edit("edited", {"replicas": replicas})
        eventually(lambda: rig.settled("edited"), 60)
    assert rig.health("healthz")[0] == 500
    sick = time.monotonic() - began
    eventually(lambda: unchanged(rig.api), 60)
    before, writes = rig.api.versions(), rig.proxy.writes
    rig.proxy.thaw()
    eventually(lambda: rig.health("healthz")[0] == rig.health("readyz")[0] == 200, 120)
    time.sleep(3)
    late = set(rig.api.versions().items()) ^ set(before.items())
    assert (rig.proxy.writes, late) == (writes, set()), "what the watch told late was acted on"
    return f"in order after {took:.1f} s, not healthy after {sick:.1f} s; after the thaw 0 writes"


def slow(make: MakeRig) -> str:
    """Each call takes two seconds."""
    rig = make("slow")
    prepare(rig)
    rig.proxy.delay = 2.0
    began, writes = time.monotonic(), rig.proxy.writes
    names = [f"slow-{number}" for number in range(12)]
    for name in names:
        rig.api.create(name, replicas=0)
    change(rig)
    eventually(lambda: rig.settled(*names) and in_order_among(rig, names), 150)
    took = time.monotonic() - began
    time.sleep(5)
    applies = [call for call in rig.proxy.since(began) if call.verb == "apply"]
    # Eight children of each new service, two edits and two lost children; twice would be two workers on one key.
    assert len(applies) <= 8 * (len(names) + 1) + 8, len(applies)
    assert rig.health("healthz")[0] == rig.health("readyz")[0] == 200
    return f"{len(names) + 1} new services in order after {took:.1f} s with {rig.proxy.writes - writes} writes"


def in_order_among(rig: Rig, names: list[str]) -> bool:
    """Whether what `change` did is acted on, other services being there."""
    deployments = rig.api.list(DEPLOYMENTS)
    expected = {"edited-cpu", "bereft-cpu", "created-cpu", *(f"{name}-cpu" for name in names)}
    return deployments.keys() == expected and deployments["edited-cpu"]["spec"]["replicas"] == 2


def throttled(make: MakeRig) -> str:
    """429 with Retry-After for a minute: it asks less, and goes on by itself."""
    rig = make("throttled")
    prepare(rig)
    rig.proxy.answer(429, retry_after=10)
    rig.proxy.cut()
    began, pid = time.monotonic(), rig.pid
    change(rig)
    time.sleep(30)
    half = time.monotonic()
    time.sleep(30)
    second = len(rig.proxy.since(half))
    first = len(rig.proxy.since(began)) - second
    refused = [record for record in rig.records() if record["level"] in {"warning", "error"}]
    rig.proxy.heal()
    took = recover(rig, 60)
    assert second <= len(WATCHED) * 30 / 10 + 3 * 3, f"{first} requests in the first 30 s, {second} in the next"
    assert len(refused) <= first + second + 10
    assert rig.running
    assert rig.pid == pid, "it ended"
    return f"{first} requests in 30 s, then {second} in 30 s; in order {took:.1f} s after; {len(refused)} log lines"


OUTAGES = (refused, swallowed, forbidden, broken, dead_watches, frozen_watch, slow, throttled)
