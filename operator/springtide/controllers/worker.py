"""Workers take keys from the queue, reconcile them and decide when a failed one comes again."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from springtide.api.errors import (
    Bug,
    Conflict,
    Forbidden,
    Invalid,
    Missing,
    NameConflict,
    Silent,
    SpringtideError,
    Unavailable,
)
from springtide.controllers.cache import Cache, Name
from springtide.controllers.queue import WorkQueue
from springtide.controllers.reconcile import Reconciler
from springtide.controllers.subject import about

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retry:
    """The first and the longest delay, in seconds."""

    base: float
    cap: float


# None: only an edit helps, and that comes as an event. What has no watch of ours is looked at every minute.
POLICY: dict[type[SpringtideError], Retry | None] = {
    Invalid: None,
    Missing: Retry(60, 60),
    NameConflict: Retry(5, 60),
    Conflict: Retry(0.05, 5),
    Silent: Retry(0.5, 10),
    Forbidden: Retry(1, 600),
    Unavailable: Retry(0.5, 30),
    Bug: Retry(1, 600),
}


# A route may fail without any event in the cluster.
_LOOK_SECONDS = 30.0


async def keep_looking(queue: WorkQueue[Name], cache: Cache) -> None:
    """Have every ModelService looked at again in each half minute, evenly spread."""
    while True:
        entries = list(cache.model_services)
        for entry in entries:
            if not queue.waits(entry.name):  # one that failed comes again when its time has come, and not before
                queue.add(entry.name)
            await asyncio.sleep(_LOOK_SECONDS / len(entries))
        if not entries:
            await asyncio.sleep(_LOOK_SECONDS)


Observe = Callable[[float, SpringtideError | None], None]
"""Hears of each reconcile for how many seconds it ran and what went wrong."""


async def work(queue: WorkQueue[Name], reconciler: Reconciler, observe: Observe) -> None:
    """Reconcile key after key for ever."""
    clock = asyncio.get_running_loop().time
    while True:
        key = await queue.get()
        started = clock()
        with about(key="/".join(key)):
            try:
                error = await reconciler.reconcile(key)
            except Exception as bug:
                logger.exception("reconcile failed")
                error = Bug(str(bug))
            finally:
                queue.done(key)
            observe(clock() - started, error)
            settle(queue, key, error)
        # A tick of scaling brings the keys of all services, and most need nothing that is waited for: without this the
        # Lease, the probes and the watches would wait until the last one is decided.
        await asyncio.sleep(0)


def settle(queue: WorkQueue[Name], key: Name, error: SpringtideError | None) -> None:
    """Forget the failures of a key that went well; have a failed one come again as its kind of error asks."""
    retry = POLICY[type(error)] if error is not None else None
    if error is None or retry is None:
        queue.forget(key)
        delay = None
    else:
        at_least = error.retry_after if isinstance(error, Unavailable) and error.retry_after else 0.0
        delay = queue.retry(key, base=retry.base, cap=retry.cap, at_least=at_least)
    if error is not None:
        level = logging.DEBUG if isinstance(error, Conflict | Silent) else logging.WARNING
        logger.log(level, "%s", error, extra={"reason": error.reason, "retrySeconds": delay})
