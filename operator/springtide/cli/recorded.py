"""Recorded traffic: from a file, or from what Prometheus has of a service."""

import asyncio
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import numpy as np

from springtide.api.errors import Invalid
from springtide.cli.documents import read
from springtide.clients.prometheus import Prometheus
from springtide.forecast.horizon import DAY, Array
from springtide.forecast.series import BadTrace, Rows, of_minutes, parse_trace
from springtide.forecaster.past import Demand, ask_pieces, join_pieces
from springtide.signals.answers import Failure
from springtide.signals.demand import Service, past_demand

# A day of minutes is much to ask of one that reads it from a remote store.
_DEADLINE_SECONDS = 30.0
_DEFAULT_MINUTES = 14 * DAY
_MOST_NAMED = 5
_OF_PROMETHEUS = ("service", "since", "until", "prometheus_token_file", "prometheus_ca_file")


class Unusable(Exception):
    """What was asked for can't be done; the message names the file or the option, and what to do."""


def source(options: Namespace) -> str:
    """Return how messages call the traffic: its file or its service."""
    return "/".join(options.service) if options.service else str(options.trace)


def read_rows(options: Namespace) -> Rows:
    """Return the traffic that the options of `add_traffic` name. Raises Unusable, and OSError for a file."""
    if options.prometheus_url is None:
        return _file(options)
    if options.service is None:
        raise Unusable("--service: is needed with --prometheus-url: NAMESPACE/NAME of a ModelService")
    try:
        prometheus = Prometheus(
            options.prometheus_url,
            token_file=options.prometheus_token_file,
            ca_file=options.prometheus_ca_file,
            deadline_seconds=_DEADLINE_SECONDS,
        )
    except Invalid as error:
        raise Unusable(f"--prometheus-url: {error}") from None
    now = time.time()
    end = int((now if options.until is None else options.until) // 60)
    first = end - (options.since or _DEFAULT_MINUTES)
    if first < 0 or 60 * end > now:
        raise Unusable("--until: must not be in the future, and --since not lead to before 1970")
    return of_minutes(first, asyncio.run(_past(prometheus, options.service, first, end)))


def _file(options: Namespace) -> Rows:
    for name in _OF_PROMETHEUS:
        if getattr(options, name) is not None:
            raise Unusable(f"--{name.replace('_', '-')}: goes with --prometheus-url, not with --trace")
    try:
        return parse_trace(read(options.trace))
    except BadTrace as error:
        raise Unusable(f"{options.trace}:{error.line}: {error}") from None
    except UnicodeDecodeError:
        raise Unusable(f"{options.trace}: must be text in UTF-8") from None


async def _past(prometheus: Prometheus, service: Service, first: int, end: int) -> Array:
    """Return requests a second of each minute, NaN where unknown; what is missing is told on stderr."""
    found = await join_pieces(_answered(ask_pieces(prometheus, first, end, service)), first, end)
    name, minutes = "/".join(service), end - first
    if service not in found:
        raise Unusable(
            f"--service: Prometheus has no requests of {name} in the {_span(minutes)} until {_time(end)}; "
            f"{await _others(prometheus, end)}"
        )
    known = np.flatnonzero(np.isfinite(found[service]))
    if len(known) < minutes:
        holes = known[-1] + 1 - known[0] - len(known)
        print(
            f"{name}: Prometheus has {len(known)} of the {minutes} minutes, from {_time(first + known[0])} to "
            f"{_time(first + known[-1] + 1)}" + (f"; {holes} between are missing" if holes else ""),
            file=sys.stderr,
        )
    return found[service]


async def _answered(
    pieces: AsyncIterator[tuple[int, int, Demand | Failure]],
) -> AsyncIterator[tuple[int, int, Demand]]:
    async for begin, count, answer in pieces:
        if isinstance(answer, Failure):
            raise Unusable(_told(answer))
        yield begin, count, answer


async def _others(prometheus: Prometheus, end: int) -> str:
    """Return which services Prometheus does know, for whoever has mistyped one."""
    answer = (await prometheus.ask({"now": past_demand()}, 60.0 * end))["now"]
    if isinstance(answer, Failure):
        raise Unusable(_told(answer))
    names = sorted({f"{one.labels.get('namespace', '')}/{one.labels.get('service', '')}" for one in answer})
    if not names:
        return "it knows of no service at that time: has it the chart's recording rules and scrapes?"
    more = [f"{len(names) - _MOST_NAMED} more"] if len(names) > _MOST_NAMED else []
    return f"it knows {', '.join(names[:_MOST_NAMED] + more)}"


def _told(failure: Failure) -> str:
    option = "--prometheus-token-file" if failure.fault == "Unauthorized" else "--prometheus-url"
    return f"{option}: {failure.fault}: {' '.join(failure.message.split())}"


def _span(minutes: int) -> str:
    return f"{minutes / DAY:.4g} days"


def _time(minute: int) -> str:
    return f"{datetime.fromtimestamp(60 * int(minute), UTC):%Y-%m-%dT%H:%MZ}"
