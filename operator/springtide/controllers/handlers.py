"""kopf's part: it watches, and each event goes into the cache and puts a key on the queue. Nothing else happens here.

Only `on.event` handlers: the others make kopf write annotations, finalizers and patches to users' objects.
"""

from typing import Any

import kopf

from springtide.clients.cluster import Kind
from springtide.controllers.cache import Cache, Name
from springtide.controllers.listing import WATCHED, labels_of
from springtide.controllers.liveness import Liveness
from springtide.controllers.queue import WorkQueue


def _group(kind: Kind) -> tuple[str, str]:
    group, _, version = kind.api_version.rpartition("/")
    return group, version


class _NoDiff(kopf.DiffBaseStorage):
    """What kopf compares of an object: nothing.

    By default it copies every object of every event several times over to find what changed, which handlers of events
    never read: 0.7 ms of CPU time an event.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def registry(cache: Cache, queue: WorkQueue[Name], liveness: Liveness) -> kopf.OperatorRegistry:
    """Return the handlers that keep the cache and the queue up to date."""
    handlers = kopf.OperatorRegistry()
    kopf.on.login(registry=handlers)(kopf.login_via_client)
    for kind in WATCHED:
        kopf.on.event(*_group(kind), kind.plural, registry=handlers)(_observer(kind, cache, queue, liveness))
    return handlers


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: it only watches, and it writes nothing anywhere."""
    made = kopf.OperatorSettings()
    made.peering.standalone = True
    made.posting.enabled = False
    made.persistence.diffbase_storage = _NoDiff()
    made.scanning.disabled = True
    # A task per object for a few seconds at the start; a limit below the number of objects would be a deadlock.
    made.queueing.worker_limit = None
    made.networking.connect_timeout = 10
    made.networking.request_timeout = 60
    # An integer, though typed otherwise: 600.0 is refused by the API server.
    made.watching.server_timeout = 600
    # The API server sends a bookmark each minute, so a watch that is silent for longer is connected anew.
    made.watching.inactivity_timeout = 70
    for kind in WATCHED:
        if selector := labels_of(kind):
            made.watching.label_selectors[*_group(kind), kind.plural] = selector
    return made


def _observer(kind: Kind, cache: Cache, queue: WorkQueue[Name], liveness: Liveness) -> Any:
    async def observe(event: dict[str, Any], **_: Any) -> None:
        liveness.told(kind)
        live = event["object"]
        before = cache.store(kind).get((live["metadata"]["namespace"], live["metadata"]["name"]))
        key = cache.remove(kind, live) if event["type"] == "DELETED" else cache.put(kind, live)
        if key is not None:
            queue.add(key)
            if before is not None and before.key != key:
                queue.add(before.key)

    observe.__name__ = observe.__qualname__ = f"observe_{kind.plural}"
    return observe
