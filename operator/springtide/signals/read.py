"""From Prometheus' answers to the signals of each pool.

What each fault does:

| fault | what is read |
|---|---|
| a question is not answered | its signal is not known (NotAnswered); without `scraped`, none is |
| a pod's scrape failed, or is older than `stale_seconds` | it is not seen; when none is, nothing is known (Stale) |
| a scrape lies in the future of Prometheus' own clock | the pod is not seen until the clock has caught up (ClockJump) |
| fewer pods seen than ready, but half of them | the unseen count as the mean of the seen (PartialScrape) |
| fewer than half | not known (PartialScrape) |
| a pod that is ready for less than a minute is not scraped yet | it adds nothing: the others' rates have its traffic |
| no pod is ready | not known (NothingReady): the zeros of pods that load are no demand |
| NaN, infinite or negative, or a ratio above 1.05 | that pod is not seen for that signal; NaN latency is no request |
| one pod lies by a thousand | see `outliers.trim`; latencies are the lower median of the pods (Outlier) |
| a counter starts again | nothing: `rate` in the rules knows resets |
| the same row twice, as of two Prometheis | the larger counts, so that nothing is scaled down by it |
| a row of a pod that isn't ready | adds to the sums: pods that drain still do work |
| a service of the same name elsewhere | another key: the namespace is part of it |
| our own clock jumps | nothing: ages are counted by Prometheus' clock alone |
"""

import math
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from statistics import median_low
from typing import Any

from springtide.signals.answers import Answer, Failure
from springtide.signals.outliers import trim
from springtide.signals.records import MEANS, MEDIANS, RESOURCES, SIGNALS, SUMS
from springtide.signals.values import Doubt, Key, Pool, Reading, Signals

# Six scrapes, at ten seconds each.
STALE_SECONDS = 60.0
# As long as the rates of the rules look back, twice: new pods' rates are still growing until then.
SETTLED_SECONDS = 120.0
# A scrape, an evaluation of the rules and the second scrape that a rate needs come within this.
_NEW_SECONDS = 60.0
# Prometheus evaluates a question a moment after the rules.
_FUTURE_SECONDS = 5.0
_MOST_RATIO = 1.05

Rows = dict[tuple[str, str, str], dict[str, float]]
"""Values by pod of each pool; the keys are those of `Key`, which costs more to make."""


def read(
    answers: Mapping[str, Answer], pools: Mapping[Key, Pool], stale_seconds: float = STALE_SECONDS
) -> dict[Key, Signals]:
    """Return the signals of each pool, and of each of their services that a gateway tells of (pool "").

    `answers` are by the names in `records.RECORDS`, and one that is missing is as one that failed. It takes some 60 µs
    for each pod: with thousands of them, not in an event loop.
    """
    scraped = answers.get("scraped", _NOT_ASKED)
    if isinstance(scraped, Failure):
        doubt = Doubt("NotAnswered", f"Prometheus does not tell what it scraped: {scraped.message}")
        return {key: Signals(ready=len(pool.ready), doubts=(doubt,)) for key, pool in pools.items()}
    now = max((sample.at for sample in scraped), default=0.0)
    times = _rows(answers, "scraped")
    rows = {name: _rows(answers, "use", name) if name in RESOURCES else _rows(answers, name) for name in SIGNALS}
    failed = [
        Doubt("NotAnswered", f"{name}: {answer.message}")
        for name in (*SUMS, *MEDIANS, "use")
        if isinstance(answer := answers.get(name, _NOT_ASKED), Failure)
    ]
    gateways = [key for key in {Key(key.namespace, key.service) for key in pools} if key in times]
    # Of proxies no other source tells which there are: those that Prometheus reached are taken to be all.
    known = {**pools, **{key: Pool(dict.fromkeys(times[key], math.inf)) for key in gateways}}
    found = {}
    for key, pool in known.items():
        ages = {pod: now - time for pod, time in times.get(key, {}).items() if math.isfinite(time)}
        values = {name: rows[name].get(key, {}) for name in SIGNALS}
        found[key] = _signals(pool, ages, values, failed, stale_seconds)
    return found


_NOT_ASKED = Failure("Unreachable", "it was not asked")


def _rows(answers: Mapping[str, Answer], name: str, resource: str = "") -> Rows:
    rows: Rows = defaultdict(dict)
    answer = answers.get(name, _NOT_ASKED)
    for sample in () if isinstance(answer, Failure) else answer:
        label = sample.labels.get
        pool = label("pool", "")
        # What tells of no pool is a gateway's, and a pod is none: it may have lost its label.
        if label("resource", "") != resource or (label("source") == "pod") != bool(pool):
            continue
        values = rows[label("namespace", ""), label("service", ""), pool]
        pod = label("pod", "")
        # No comparison with NaN is true: it becomes -inf here, and never hides a number.
        values[pod] = max(values.get(pod, -math.inf), sample.value)
    return rows


def _signals(
    pool: Pool,
    ages: Mapping[str, float],
    rows: Mapping[str, Mapping[str, float]],
    failed: Iterable[Doubt],
    stale_seconds: float,
) -> Signals:
    fresh = {pod: max(age, 0.0) for pod, age in ages.items() if -_FUTURE_SECONDS <= age <= stale_seconds}
    seen = [pod for pod in pool.ready if pod in fresh]
    settled = {pod for pod in seen if pool.ready[pod] >= SETTLED_SECONDS}
    doubts = [*failed, *_scrape_doubts(pool, ages, seen)]
    readings: dict[str, Any] = {}
    for name in SIGNALS if seen else ():
        most = _MOST_RATIO if name in MEANS else sys.float_info.max  # infinity is not there
        valid = {pod: value for pod, value in rows[name].items() if 0.0 <= value <= most and pod in fresh}
        value, doubt = _pooled(name, pool, valid, settled)
        if doubt is None and value is None and name in SUMS and rows[name]:
            doubt = Doubt("NotFinite", f"{name}: no ready pod gives a finite number")
        doubts += [doubt] if doubt else []
        if value is not None:
            readings[name] = Reading(value, max(fresh[pod] for pod in valid))
    return Signals(**readings, ready=len(pool.ready), seen=len(seen), settled=len(settled), doubts=tuple(doubts))


def _scrape_doubts(pool: Pool, ages: Mapping[str, float], seen: Collection[str]) -> list[Doubt]:
    if not pool.ready:
        return [Doubt("NothingReady", "no pod is ready, so no pod tells of demand")]
    unseen = sorted(pod for pod, age in pool.ready.items() if pod not in seen and (age >= _NEW_SECONDS or not seen))
    if not unseen:
        return []
    for pod in unseen:
        if ages.get(pod, 0.0) < -_FUTURE_SECONDS:
            return [Doubt("ClockJump", f"the last scrape of pod {pod} is {-ages[pod]:.0f} s in the future")]
    first = unseen[0]
    age = f"{ages[first]:.0f} s old" if first in ages else "failed"
    message = f"{len(unseen)} of {len(pool.ready)} ready pods are not seen; the last scrape of {first} is {age}"
    return [Doubt("PartialScrape" if len(unseen) < len(pool.ready) else "Stale", message)]


def _pooled(name: str, pool: Pool, valid: Mapping[str, float], settled: set[str]) -> tuple[float | None, Doubt | None]:
    """Return a pool's value from those of its pods, None where it is not known, and what is doubted."""
    ready = {pod: value for pod, value in valid.items() if pod in pool.ready}
    if not ready:
        return None, None
    if name in MEDIANS:
        # One slow pod is for the gateway to eject: more replicas would not make it faster.
        return median_low(ready.values()), None
    due = sum(pod in ready or age >= _NEW_SECONDS for pod, age in pool.ready.items())
    if 2 * len(ready) < due:
        return None, Doubt("PartialScrape", f"{name}: only {len(ready)} of {due} ready pods tell")
    if name in MEANS:
        return min(sum(ready.values()) / len(ready), 1.0), None
    trimmed = trim(valid, settled, pool.typical.get(name))
    if trimmed is None:
        worst = max(valid, key=lambda pod: valid[pod])
        return None, Doubt("Outlier", f"{name}: pod {worst} says {valid[worst]:g}, unlike all others; is that true?")
    doubt = None
    if trimmed.outliers:
        first = trimmed.outliers[0]
        doubt = Doubt("Outlier", f"{name}: pod {first} says {valid[first]:g}; counted as {trimmed.values[first]:g}")
    total = sum(trimmed.values[pod] for pod in ready) * due / len(ready)
    return total + sum(value for pod, value in trimmed.values.items() if pod not in ready), doubt
