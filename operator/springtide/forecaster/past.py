"""The past that Prometheus has kept, read in pieces of a size that both sides can bear."""

import logging
from collections.abc import AsyncIterator
from typing import TypeAlias

import numpy as np

from springtide.clients.prometheus import Prometheus
from springtide.forecast.horizon import DAY, Array
from springtide.signals.answers import Failure
from springtide.signals.demand import Service, past_demand, read_past

logger = logging.getLogger(__name__)

# Of a thousand services some 2 MB.
PIECE_MINUTES = 60
# A Prometheus that can't answer these questions isn't asked all of them.
_MOST_FAILURES = 3

Demand: TypeAlias = dict[Service, list[float]]
"""Requests a second of each minute of a piece, NaN where unknown; without the services of which nothing is known."""


async def ask_pieces(
    prometheus: Prometheus, first: int, end: int, service: Service | None = None
) -> AsyncIterator[tuple[int, int, Demand | Failure]]:
    """Yield pieces of the unix minutes from `first` to before `end`: where each begins, how long it is, its demand.

    Of all services, or in larger pieces of one.
    """
    size = DAY if service else PIECE_MINUTES
    for begin in range(first, end, size):
        count = min(size, end - begin)
        answer = await prometheus.ask_range(past_demand(service), 60 * (begin + 1), 60 * (begin + count), 60)
        yield begin, count, answer if isinstance(answer, Failure) else read_past(answer, begin, count)


async def read_pieces(prometheus: Prometheus, first: int, end: int) -> AsyncIterator[tuple[int, int, Demand]]:
    """Yield the pieces that Prometheus answers; after three in a row that it does not, the rest is left out too."""
    failures = 0
    async for begin, count, answer in ask_pieces(prometheus, first, end):
        if isinstance(answer, Failure):
            failures += 1
            logger.warning("Prometheus doesn't tell of the past (%s): %s", answer.fault, answer.message)
            if failures == _MOST_FAILURES:
                return
            continue
        failures = 0
        yield begin, count, answer


async def join_pieces(pieces: AsyncIterator[tuple[int, int, Demand]], first: int, end: int) -> dict[Service, Array]:
    """Return the demand of each service by minute from `first` to before `end`, NaN where unknown."""
    series: dict[Service, Array] = {}
    async for begin, count, found in pieces:
        for service, rates in found.items():
            if service not in series:
                series[service] = np.full(end - first, np.nan, dtype=np.float32)
            series[service][begin - first : begin - first + count] = rates
    return series
