"""Which of several operators works: the one that holds the Lease. The others stand by.

The time until which this operator may write is counted from before the request that renewed the Lease, and it ends
before anyone else may take it. So a holder that hangs, stands still or is cut off has stopped by then, and `leads` is
false for whatever it wakes up to.
"""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from springtide.api.errors import Conflict, SpringtideError, Unavailable
from springtide.clients.cluster import LEASE, Object, Objects
from springtide.controllers.lease import Election, Seen, holder_of, may_take, released, see, taken

logger = logging.getLogger(__name__)

# Goes on while the machine sleeps, where there is such a clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Leadership:
    """One operator's part in the election."""

    def __init__(
        self,
        objects: Objects,
        election: Election,
        clock: Callable[[], float] = lambda: time.clock_gettime(_CLOCK),
    ) -> None:
        self._objects = objects
        self._election = election
        self._timing = election.timing
        self._clock = clock
        self._seen: Seen | None = None
        self._held: Object | None = None  # as last written, while it is not known to have changed since
        self._until = -math.inf
        self._problem = "the lease has not been read yet"

    def leads(self) -> bool:
        """Tell whether this operator may write now."""
        return self._clock() < self._until

    def problem(self) -> str:
        """Return why the Lease can't be read or written; empty when it can."""
        return self._problem

    async def acquire(self) -> None:
        """Return once this operator leads, however long that takes."""
        leader = ""
        while not await self._attempted():
            if self._holder() != leader:
                leader = self._holder()
                logger.info("standing by: %s leads", leader)
            # Two that wait for the same moment would only get in each other's way.
            await asyncio.sleep(self._timing.retry * random.uniform(1, 1.2))  # noqa: S311
        logger.info("%s leads", self._election.identity)

    async def hold(self) -> str:
        """Renew the Lease for as long as possible; return why it is lost."""
        while self.leads():
            await asyncio.sleep(min(self._timing.retry, self._until - self._clock()))
            # Asleep for longer than it leads, an operator asks for nothing any more.
            if not self.leads():
                break
            if not await self._attempted() and self._holder() != self._election.identity:
                self._until = -math.inf
                return f"{self._holder()} took the lease"
        return f"the lease was not renewed within {self._timing.renew:g} s" + (self._problem and f": {self._problem}")

    async def release(self) -> None:
        """Give the Lease away, so that the next one need not wait. Nothing is written any more when this is called."""
        led, self._until = self.leads(), -math.inf
        if not led:
            return
        try:
            async with asyncio.timeout(self._timing.request):
                live = await self._objects.get(LEASE, self._election.namespace, self._election.name)
                if live is not None and holder_of(live) == self._election.identity:
                    await self._objects.update(LEASE, released(live, _stamp()))
        except (SpringtideError, TimeoutError) as error:
            logger.warning("the lease could not be released, and will run out: %s", error)

    def _holder(self) -> str:
        return holder_of(self._seen.lease) if self._seen is not None else ""

    async def _attempted(self) -> bool:
        """Try to take or to renew the Lease; False with a problem, or with none when someone else holds it."""
        started = self._clock()
        # A holder asks no longer than it leads.
        seconds = min(self._timing.request, self._until - started) if started < self._until else self._timing.request
        try:
            async with asyncio.timeout(seconds):
                problem, mine = "", await self._attempt(started)
        except TimeoutError:
            problem, mine = f"no answer within {seconds:.1f} s", False
        except Conflict:
            problem, mine = "", False  # Someone was faster; the next look tells who.
        except SpringtideError as error:
            problem, mine = str(error), False
        if problem:
            self._held = None
            if problem != self._problem:
                logger.warning("the lease can't be read or written: %s", problem)
        self._problem = problem
        return mine

    async def _attempt(self, started: float) -> bool:
        if self._held is not None:
            try:
                self._wrote(await self._objects.update(LEASE, taken(self._held, self._election, _stamp())), started)
                return True
            except Conflict:
                self._held = None
        live = await self._objects.get(LEASE, self._election.namespace, self._election.name)
        if live is None:
            self._wrote(await self._objects.create(LEASE, taken(None, self._election, _stamp())), started)
            return True
        self._seen = see(self._seen, live, self._clock())
        if not may_take(self._seen, self._election, self._clock()):
            return False
        self._wrote(await self._objects.update(LEASE, taken(live, self._election, _stamp())), started)
        return True

    def _wrote(self, lease: Object, started: float) -> None:
        if self._clock() >= started + self._timing.renew:
            raise Unavailable("the answer came too late")
        self._held = lease
        self._seen = see(self._seen, lease, self._clock())
        self._until = started + self._timing.renew


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
