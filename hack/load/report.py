"""A record as the one JSON object that people and benches read, and its timeline as CSV."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from hack.load.exchange import OUTCOMES
from hack.load.histogram import RELATIVE_ERROR, Histogram
from hack.load.options import Options
from hack.load.record import Record, Tally
from hack.load.targets import Target
from hack.shell import Failure

_WAITS = 0.01
"""the share of requests that may wait for a connection"""


def report(options: Options, targets: list[Target], record: Record, lost: int) -> dict[str, Any]:
    """Return the report. Milliseconds count from the time at which a request was to be sent."""
    total = record.total
    seconds = max((sender.window_seconds for sender in record.senders), default=options.seconds)
    saturated = _saturated(options, record, lost)
    told: dict[str, Any] = {
        "targets": [{"url": target.url, "address": f"{target.address} port {target.port}"} for target in targets],
        "kind": options.kind,
        "loop": _loop(options),
        "seed": options.seed,
        "ended": "+".join(sorted(record.ended)) or "lost",
        "seconds": round(seconds, 3),
        "offered_per_second": round(total.scheduled / seconds, 3),
        "sent_per_second": round(total.sent / seconds, 3),
        "ok_per_second": round(record.ok_in_window / seconds, 3),
        "goodput_per_second": round(total.good / seconds, 3),
        "requests": {
            "planned": record.planned,
            "scheduled": total.scheduled,
            "not_scheduled": record.planned - total.scheduled,
            **_counts(total),
        },
        "outcomes": {name: record.outcomes[name] for name in OUTCOMES if record.outcomes[name]},
        "statuses": dict(sorted(record.statuses.items())),
        "details": dict(record.details.most_common()),
        "slo": {"milliseconds": options.slo_milliseconds, "first_token": options.slo_first_token_milliseconds},
        "attainment": _attainment(total),
        "latency_ms": {"ok": total.answers.milliseconds(), "ok_and_failed": _both(total).milliseconds()},
        "streams": {
            "count": record.streams,
            "events_with_text": record.events,
            "time_to_first_token_ms": total.first.milliseconds(),
            "inter_token_ms": record.gaps.milliseconds(),
        },
        "tokens": {
            "prompt": record.tokens["prompt"],
            "completion": record.tokens["completion"],
            "completion_per_second": round(record.tokens["completion"] / seconds, 3),
            "completion_counted_as_events": record.tokens["completion_counted_as_events"],
        },
        "bytes": {"sent": record.bytes_sent, "received": record.bytes_received},
        "retry_after": _retry_after(record.retry_after),
        "classes": {value: _group(tally, seconds) for value, tally in sorted(record.values.items())},
        "steps": _steps(options, record, seconds),
        "connections": {
            "mode": options.connections,
            "limit": options.max_connections,
            "opened": sum(sender.opened for sender in record.senders),
            "peak": sum(sender.peak for sender in record.senders),
            "requests_that_waited": sum(sender.waits for sender in record.senders),
        },
        "sender": {
            "processes": options.processes,
            "processes_lost": lost,
            "cpu_seconds": round(sum(sender.cpu_seconds for sender in record.senders), 3),
            "busiest_core": round(
                max((sender.cpu_seconds / sender.wall_seconds for sender in record.senders), default=0.0), 3
            ),
            "lateness_ms": record.lateness.milliseconds(),
            "saturated_by": saturated,
        },
        "sender_saturated": bool(saturated),
        "quantile_error": round(RELATIVE_ERROR, 4),
    }
    return told


def write_timeline(path: Path, record: Record) -> None:
    """Write a line for each second: what was due in it and what became of that, and the good answers in it."""
    try:
        with path.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["second", "scheduled", "ok", "failed", "shed", "completed", "p50_ms", "p99_ms", "max_ms"])
            for second, one in sorted(record.seconds.items()):
                told = one.answers.milliseconds()
                quantiles = [told.get(name, "") for name in ("p50", "p99", "max")]
                lines.writerow([second, one.scheduled, one.ok, one.failed, one.shed, one.completed, *quantiles])
    except OSError as error:
        raise Failure(f"--timeline {path}: {error.strerror}") from None


def _loop(options: Options) -> dict[str, Any]:
    if options.concurrency is not None:
        return {"kind": "closed", "concurrency": options.concurrency}
    if options.trace is not None:
        return {"kind": "open", "trace": options.trace.name, "speed_up": options.speed_up, "scale": options.scale}
    return {"kind": "open", "arrivals": options.arrivals, "rate": str(options.rate)}


def _both(tally: Tally) -> Histogram:
    both = Histogram()
    both.merge(tally.answers)
    both.merge(tally.failures)
    return both


def _counts(tally: Tally) -> dict[str, int]:
    return {"sent": tally.sent, "ok": tally.ok, "failed": tally.failed, "abandoned": tally.abandoned}


def _attainment(tally: Tally) -> float | None:
    """The share of requests that were answered well and in time, of those that we didn't abandon ourselves."""
    asked = tally.scheduled - tally.abandoned
    return round(tally.good / asked, 6) if asked else None


def _group(tally: Tally, seconds: float) -> dict[str, Any]:
    return {
        "scheduled": tally.scheduled,
        **_counts(tally),
        "shed": tally.shed,
        "offered_per_second": round(tally.scheduled / seconds, 3),
        "goodput_per_second": round(tally.good / seconds, 3),
        "attainment": _attainment(tally),
        "latency_ms": tally.answers.milliseconds(),
        "time_to_first_token_ms": tally.first.milliseconds(),
    }


def _steps(options: Options, record: Record, seconds: float) -> list[dict[str, Any]]:
    """The steps of --rate that were begun; the last one may have ended early."""
    rates = str(options.rate).split(",")
    length = options.seconds / len(rates)
    return [
        {"rate": rates[number].strip(), **_group(tally, max(0.001, min(length, seconds - number * length)))}
        for number, tally in sorted(record.steps.items())
    ]


def _retry_after(seen: Counter[str]) -> dict[str, Any]:
    seconds = [int(text) for text in seen if text.isdecimal() and len(text) < 10]
    ends = {"min_seconds": min(seconds), "max_seconds": max(seconds)} if seconds else {}
    return {"count": seen.total(), **ends}


def _saturated(options: Options, record: Record, lost: int) -> list[str]:
    """What of the generator itself held the load back, so that the report tells less about the server."""
    found = []
    if 1000 * record.lateness.quantile(0.99) > options.max_lateness_milliseconds:
        found.append("lateness")
    if sum(sender.waits for sender in record.senders) > _WAITS * record.total.scheduled:
        found.append("connections")
    if lost:
        found.append("processes")
    return found
