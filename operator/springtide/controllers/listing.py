"""Listing what is watched: once to start with, then every few minutes to find what the watches missed.

kopf never forgets an object that vanished while its watch was down, and a watch may be silent without being dead.
"""

import asyncio
import logging
import random
from collections.abc import Sequence
from typing import Any

from springtide.api.errors import Forbidden, Missing, SpringtideError, Unavailable
from springtide.clients.cluster import CHILDREN, OURS, POD, Cluster, Kind
from springtide.controllers.cache import Cache, Entry, Name, reduce
from springtide.controllers.liveness import PERIOD_SECONDS, Liveness
from springtide.controllers.queue import WorkQueue
from springtide.manifests.names import SERVICE_LABEL

logger = logging.getLogger(__name__)

WATCHED = (*OURS, *CHILDREN, POD)
# What failed or found something is done again sooner by this much: until the watches tell all, it is their substitute.
_HASTE = 6
# An event may be on its way while the list is read.
_GRACE_SECONDS = 2.0


class Listing:
    """Keeps the cache true by reading the lists."""

    def __init__(
        self,
        cluster: Cluster,
        cache: Cache,
        queue: WorkQueue[Name],
        namespaces: Sequence[str | None],
        liveness: Liveness | None = None,
        period: float = PERIOD_SECONDS,
    ) -> None:
        self._cluster = cluster
        self._cache = cache
        self._queue = queue
        self._namespaces = namespaces
        self._liveness = liveness or Liveness(WATCHED)
        self._period = period
        self._horizons: dict[Kind, int] = {}

    async def wait_for_definition(self, seconds: float) -> None:
        """Return once our kinds can be listed; raise the last error when the time is over."""
        end = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                for kind in OURS:
                    for namespace in self._namespaces:
                        await self._cluster.list(kind, namespace, metadata=True)
                return
            except (Missing, Forbidden, Unavailable) as error:
                if asyncio.get_running_loop().time() >= end:
                    raise
                logger.warning("%ss can't be listed yet: %s", kind.kind, error)
            await asyncio.sleep(2)

    async def fill(self) -> None:
        """Read everything into the cache, children first, so that no service looks as if it had none."""
        for kind in reversed(WATCHED):
            for namespace in self._namespaces:
                for live in await self._cluster.list(kind, namespace, labels_of(kind)):
                    self._cache.put(kind, live)
            self._liveness.heard(kind)
        for kind in OURS:
            for entry in self._cache.store(kind):
                self._queue.add(entry.key)

    async def keep_comparing(self) -> None:
        """Compare the cache with the lists for ever, at times that differ from one operator to the next."""
        wait = self._period
        while True:
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311
            wait = self._period / _HASTE
            try:
                if not await self.compare():
                    wait = self._period
            except SpringtideError as error:
                logger.warning("the cache could not be compared with the cluster: %s", error)
                if isinstance(error, Unavailable):
                    wait = max(wait, error.retry_after or 0.0)

    async def compare(self) -> int:
        """Read the names and versions of everything, and read live whatever the cache has otherwise.

        Returns how many objects it had to set right.
        """
        total = 0
        for kind in WATCHED:
            store = self._cache.store(kind)
            store.forget_deletions(self._horizons.get(kind, 0))
            self._horizons[kind] = store.newest()
            before = {entry.name: entry for entry in store}
            listed: dict[Name, int] = {}
            for namespace in self._namespaces:
                for live in await self._cluster.list(kind, namespace, labels_of(kind), metadata=True):
                    metadata = live["metadata"]
                    listed[metadata["namespace"], metadata["name"]] = int(metadata["resourceVersion"])
            names = before.keys() | listed.keys()
            differing = [name for name in names if name not in before or listed.get(name) != before[name].version]
            if differing:
                await asyncio.sleep(_GRACE_SECONDS)
            missed = [name for name in differing if await self._look(kind, name, before.get(name), listed.get(name))]
            if missed:
                logger.warning("the watch of %ss missed %d of them", kind.kind, len(missed))
            self._liveness.compared(kind, len(missed))
            total += len(missed)
        return total

    async def _look(self, kind: Kind, name: Name, before: Entry[Any] | None, listed: int | None) -> bool:
        """Read an object live unless an event told of it meanwhile; return whether the cache was wrong."""
        store = self._cache.store(kind)
        entry = store.get(name)
        if entry is not before and (entry is None or entry.version >= (listed or 0)):
            return False
        live = await self._cluster.get(kind, *name)
        found = reduce(kind, live) if live is not None else None
        if found is not None:
            store.exhume(found.uid)
        elif entry is not None:
            store.bury(entry.uid)
        if found is not None and not found.key[1]:
            found = None  # Its label is gone, so it is none of ours any more.
        if entry is not None and (found is None or found.version != entry.version):
            store.replace(entry, found)
            for key in {entry.key, found.key if found else entry.key}:
                self._queue.add(key)
            return True
        if entry is None and found is not None and store.put(found):
            self._queue.add(found.key)
            return True
        return False


def labels_of(kind: Kind) -> str:
    """Return the selector of what is watched of a kind: all of our kinds, and the children that carry our label."""
    return "" if kind in OURS else SERVICE_LABEL
