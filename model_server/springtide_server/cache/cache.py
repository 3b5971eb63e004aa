"""The cache as the answers know it: which requests may use it, and what their response says of that."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.requests import Request

from springtide_server.cache.flights import Flights
from springtide_server.cache.identity import content_of, release
from springtide_server.cache.keys import Identity, keys
from springtide_server.cache.metrics import CacheMetrics
from springtide_server.cache.options import StoreSettings
from springtide_server.cache.store import Store
from springtide_server.engine.work import Terms
from springtide_server.leaving import left
from springtide_server.protocol import Task

TENANT_HEADER = "X-Tenant"
# Another replica that computes the same is waited for at most so long, in seconds: some times what it usually takes.
WAIT_SECONDS: dict[Task, float] = {"Embed": 0.5, "Generate": 5.0}
log = logging.getLogger(__name__)

Compute = Callable[[list[list[int]]], Awaitable[list[bytes]]]


class ResultCache:
    """Results of one model."""

    def __init__(self, settings: StoreSettings, task: Task, registry: CollectorRegistry) -> None:
        """Raises ValueError when the URL is none of Redis."""
        self._task = task
        self._metrics = CacheMetrics(registry)
        self._flights = Flights(Store(settings, self._metrics), self._metrics, WAIT_SECONDS[task])
        self._release = release()
        self._revision: str | None = None

    async def identify(self, folder: Path, revision: str) -> None:
        """Learn what model it is, by its revision, or by its content where that is "". Bypassed until then."""
        try:
            self._revision = revision or await asyncio.to_thread(content_of, folder)
        except OSError as error:
            log.warning("no result cache: the model can't be read", extra={"fields": {"error": error.strerror}})
        else:
            log.info("result cache", extra={"fields": {"revision": self._revision}})

    async def results(
        self,
        request: Request,
        parameters: dict[str, Any],
        rows: list[list[int]],
        terms: Terms,
        precision: str,
        compute: Compute,
    ) -> list[bytes]:
        """A result for each row of tokens, which `compute` makes for those rows that it is given."""
        if self._revision is None or _opted_out(request):
            self.bypass(request, len(rows))
            return await compute(rows)
        identity = Identity(self._release, self._revision, precision)
        tenant = request.headers.get(TENANT_HEADER, "")
        names = await asyncio.to_thread(keys, identity, tenant, {"task": self._task, **parameters}, rows)
        row_of = dict(zip(names, rows, strict=True))
        found, report = await self._flights.results(
            names, terms, lambda some: compute([row_of[key] for key in some]), lambda: left(request)
        )
        request.state.cache_status = f"springtide; {report.status}"
        return found

    def bypass(self, request: Request, rows: int) -> None:
        """The request has nothing to do with the cache."""
        self._metrics.rows.labels("bypass").inc(rows)
        request.state.cache_status = f"springtide; fwd={'request' if _opted_out(request) else 'bypass'}"


def _opted_out(request: Request) -> bool:
    directives = request.headers.get("Cache-Control", "").lower().split(",")
    return not {"no-store", "no-cache"}.isdisjoint(directive.strip() for directive in directives)
