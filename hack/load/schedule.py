"""When requests are to be sent: drawn before the first one, so that no answer can delay them."""

from __future__ import annotations

import csv
import itertools
import math
import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hack.load.options import Options, rates
from hack.shell import Failure

MAX_REQUESTS = 5_000_000


@dataclass
class Schedule:
    """Send times in seconds since the start, ascending; for a trace of requests also their lengths in tokens."""

    seconds: float
    times: array[float] = field(default_factory=lambda: array("d"))
    tokens: array[int] | None = None
    max_tokens: array[int] | None = None
    steps: list[tuple[float, float, float]] = field(default_factory=list)
    """(end, first rate, last rate) of each step of --rate"""


def draw(options: Options) -> Schedule:
    """Draw the whole schedule. The same options give the same one, in every process.

    Raises Failure for a trace that can't be read and for more requests than fit.
    """
    rng = random.Random(f"times {options.seed}")  # noqa: S311
    schedule = _from_trace(options, rng) if options.trace else _from_rates(options, rng)
    if options.requests is not None and options.requests <= len(schedule.times):
        del schedule.times[options.requests :]
        schedule.seconds = min(schedule.seconds, max(schedule.times[-1], 0.001))
    return schedule


def _from_rates(options: Options, rng: random.Random) -> Schedule:
    steps = rates(options.rate or 0)
    length = options.seconds / len(steps)
    expected = length * sum((first + last) / 2 for first, last in steps)
    _check_number(min(expected, options.requests or math.inf))
    schedule = Schedule(options.seconds)
    gaps = _exponential(rng) if options.arrivals == "poisson" else itertools.chain([0.5], itertools.repeat(1.0))
    # An arrival process of rate 1, bent to the rates asked for: a time is where their integral reaches its arrival.
    arrival, done = next(gaps), 0.0
    for number, (first, last) in enumerate(steps):
        area = length * (first + last) / 2
        while arrival <= done + area and len(schedule.times) < (options.requests or math.inf):
            inside = _reach(arrival - done, first, (last - first) / length)
            schedule.times.append(number * length + min(inside, length))
            arrival += next(gaps)
        done += area
        schedule.steps.append(((number + 1) * length, first, last))
    return schedule


def _exponential(rng: random.Random) -> Iterator[float]:
    while True:
        yield rng.expovariate(1)


def _reach(area: float, first: float, slope: float) -> float:
    """When the integral of `first + slope * t` reaches an area."""
    if area <= 0:
        return 0.0
    return 2 * area / (first + math.sqrt(max(0.0, first * first + 2 * slope * area)))


def _from_trace(options: Options, rng: random.Random) -> Schedule:
    assert options.trace is not None  # noqa: S101
    schedule = Schedule(options.seconds)
    names, rows = _read(options.trace)
    begin, speed = options.trace_start, options.speed_up
    if "in_tokens" in names:
        schedule.tokens, schedule.max_tokens = array("L"), array("L")
        for time, tokens, max_tokens in rows:
            if begin <= time < begin + options.seconds * speed and rng.random() < options.scale:
                schedule.times.append((time - begin) / speed)
                schedule.tokens.append(max(1, int(tokens)))
                schedule.max_tokens.append(max(1, int(max_tokens)))
                _check_number(len(schedule.times))
        return schedule
    for (time, requests), width in zip(rows, _widths([row[0] for row in rows]), strict=True):
        if time + width > begin and time < begin + options.seconds * speed:
            _check_number(len(schedule.times) + requests * options.scale)
            kept = _thinned(int(requests), options.scale, rng)
            drawn = sorted((time + width * rng.random() - begin) / speed for _ in range(kept))
            schedule.times.extend(one for one in drawn if 0 <= one < options.seconds)
    return schedule


def _widths(times: list[float]) -> list[float]:
    """How long each bin lasts: until the next; the last as long as the one before it."""
    widths = [following - time for time, following in itertools.pairwise(times)]
    return [*widths, widths[-1] if widths else 1.0]


def _thinned(number: int, share: float, rng: random.Random) -> int:
    """How many of so many requests are kept, each with the same chance: the noise of a small service stays honest."""
    if share >= 1:
        return number
    kept, at, scale = 0, -1, math.log1p(-share)
    while True:
        at += 1 + int(math.log(1 - rng.random()) / scale)  # how many are skipped before the next one kept
        if at >= number:
            return kept
        kept += 1


def _read(path: Path) -> tuple[list[str], list[list[float]]]:
    """Return the columns and the rows of a trace.

    Raises Failure when it has neither `t_s,requests` nor `t_s,in_tokens,out_tokens`, or a row at fault.
    """
    try:
        with path.open(newline="") as file:
            lines = csv.reader(file)
            head = [name.strip() for name in next(lines, [])]
            wanted = ["t_s", "in_tokens", "out_tokens"] if "in_tokens" in head else ["t_s", "requests"]
            if not set(wanted) <= set(head):
                raise Failure(f"--trace {path}: needs the columns t_s,requests or t_s,in_tokens,out_tokens")
            places = [head.index(name) for name in wanted]
            rows: list[list[float]] = []
            for number, line in enumerate(lines, 2):
                row = _numbers(line, places)
                if not row or not all(0 <= one < 1e12 for one in row) or (rows and row[0] < rows[-1][0]):
                    raise Failure(f"--trace {path}: line {number} has no such numbers, or goes back in time")
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Failure(f"--trace {path}: {error}") from None
    return wanted, rows


def _numbers(line: list[str], places: list[int]) -> list[float]:
    try:
        return [float(line[place]) for place in places]
    except (ValueError, IndexError):
        return []


def _check_number(number: float) -> None:
    if number > MAX_REQUESTS:
        raise Failure(f"more than {MAX_REQUESTS} requests: lower --rate, --seconds, --speed-up or --scale")
