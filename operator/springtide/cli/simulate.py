"""`springtide simulate`: what a policy would have done to a trace, by the code that the operator decides with."""

import csv
import json
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime
from math import isfinite, nan
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from springtide.cli.plot import NoPlot, plot
from springtide.cli.policies import policy
from springtide.cli.recorded import Unusable, read_rows, source
from springtide.cli.validate import look
from springtide.forecast.series import BadTrace
from springtide.scaling.resolve import scaling_settings
from springtide.scaling.settings import ScalingSettings
from springtide.simulation.run import Course, Policy, Scenario, run
from springtide.simulation.score import Score, Timeline, clairvoyant_course, reference, score
from springtide.simulation.springtide import Springtide
from springtide.simulation.trace import Trace, arrivals, binned

_DAY = 86400
# A trace that does not say when it was taken begins on a Monday at 00:00 UTC.
_MONDAY = 4 * _DAY
_UNIX = 1e8


def simulate(options: Namespace) -> int:
    """Run the simulation, print what came of it and return the exit code."""
    try:
        settings = _settings(options.spec, options.wait_slo_seconds)
        trace = _trace(options)
        scenario = _scenario(options, trace, settings)
        chosen = _policy(options, trace, scenario, settings)
        least = reference(scenario)
        course = _course(options.policy, scenario, chosen, least[1])
        (pool,) = settings.pools
        result, timeline = score(scenario, course, least, pool.cost if isfinite(pool.cost) else 1.0)
        if options.timeline:
            _write(Path(options.timeline), trace, timeline)
        if options.plot:
            band = chosen.band if isinstance(chosen, Springtide) else []
            plot(Path(options.plot), timeline, scenario.rate, band, options.policy)
    except (NoPlot, Unusable) as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    said = {"policy": options.policy, "seed": options.seed} | asdict(result)
    print(json.dumps(said, indent=2) if options.output == "json" else report(options.policy, result))
    return 0


def report(policy: str, result: Score) -> str:
    """Return the result for people."""
    return "\n".join(
        (
            f"{policy}, {result.days:.1f} days, {result.requests} requests",
            f"  attainment        {100 * result.attainment:.3f} %  ({result.late} late)",
            f"  waits             p50 {result.wait_p50_seconds:.2f} s, p99 {result.wait_p99_seconds:.2f} s",
            f"  GPU-hours         {result.gpu_hours:.1f}, {result.ratio:.3f} times the clairvoyant's "
            f"{result.gpu_hours_clairvoyant:.1f}",
            f"  cost              {result.cost:.2f}",
            f"  replica changes   {result.actions}, {result.actions_per_day:.0f} a day, "
            f"{result.removed_while_loading} while loading",
            f"  peak              {result.peak_replicas} replicas",
            f"  decision          {result.decision_cpu_milliseconds_p99:.2f} ms CPU (p99)",
        )
    )


def _trace(options: Namespace) -> Trace:
    if options.start is not None and options.trace is None:
        raise Unusable("--start: goes with --trace; Prometheus knows when it was")
    try:
        return binned(read_rows(options))
    except BadTrace as error:
        raise Unusable(f"{source(options)}:{error.line}: {error}") from None


def _settings(file: str, slo: float) -> ScalingSettings:
    """Return the settings of the first pool of the one service of a file."""
    found = list(look(file))
    for one in found:
        for line, problem in one.problems:
            raise Unusable(f"{file}:{line}: {problem}")
    services = [one.service for one in found if one.service]
    if len(services) != 1:
        raise Unusable(f"{file}: must hold one ModelService, not {len(services)}")
    settings = scaling_settings(services[0])
    pool = settings.pools[0] if settings.pools else None
    if pool is None or pool.name != services[0].spec.pools[0].name:
        raise Unusable(f"{file}: spec.pools[0].tier: an Offline pool has no traffic to follow")
    if services[0].spec.pools[0].replicas.max is None:
        raise Unusable(f"{file}: spec.pools[0].replicas.max: is required: a pool without it is not scaled")
    schedules = tuple(one for one in settings.schedules if one.pool == pool.name)
    return replace(settings, pools=(pool,), schedules=schedules, wait_seconds=slo, latency_seconds=nan)


def _scenario(options: Namespace, trace: Trace, settings: ScalingSettings) -> Scenario:
    warmup = round(options.warmup_days * _DAY / 30) * 30
    if warmup + 600 > trace.length:
        raise Unusable(
            f"{source(options)}: its {trace.length / _DAY:.2f} days leave nothing after --warmup-days "
            f"{options.warmup_days:g}; give fewer"
        )
    (pool,) = settings.pools
    return Scenario(
        arrivals=arrivals(trace, options.seed),
        rate=options.replica_rate,
        least=pool.least,
        most=pool.most,
        cold_start=options.cold_start_seconds,
        slo=options.wait_slo_seconds,
        attainment=settings.attainment,
        warmup=warmup,
        seed=options.seed,
    )


def _course(name: str, scenario: Scenario, policy: Policy | None, use: float) -> Course:
    if policy is None:
        return clairvoyant_course(scenario, use)
    with _Progress(name) as progress:
        return run(scenario, policy, time.thread_time, progress)


def _policy(options: Namespace, trace: Trace, scenario: Scenario, settings: ScalingSettings) -> Policy | None:
    """Return the policy; None for the clairvoyant, which is a formula."""
    if options.policy == "clairvoyant":
        return None
    epoch = options.start or (trace.start if trace.start > _UNIX else _MONDAY + trace.start)
    begin, minutes = int(epoch // 60 * 60), _week_minutes(settings)
    return policy(options.policy, scenario, lambda forecaster: Springtide(settings, forecaster, begin, minutes))


def _week_minutes(settings: ScalingSettings) -> Callable[[float], Mapping[str, float]]:
    try:
        zones = {one.timezone: ZoneInfo(one.timezone) for one in settings.schedules}
    except (KeyError, ValueError) as error:
        raise Unusable(f"spec.scaling.schedules: no timezone is called so: {error}") from None

    def minutes(now: float) -> dict[str, float]:
        local = {name: datetime.fromtimestamp(now, zone) for name, zone in zones.items()}
        return {name: one.weekday() * 1440 + one.hour * 60 + one.minute for name, one in local.items()}

    return minutes


def _write(path: Path, trace: Trace, timeline: Timeline) -> None:
    columns = asdict(timeline)
    columns["t_s"] = columns["t_s"] + round(trace.start)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(np.column_stack(list(columns.values())).tolist())


class _Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = -1

    def __enter__(self) -> "_Progress":
        return self

    def __call__(self, share: float) -> None:
        percent = int(100 * share)
        if percent == self._shown or not sys.stderr.isatty():
            return
        self._shown = percent
        print(f"\r{self._what} [{'#' * (percent // 4):25}] {percent:3} %", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self._shown >= 0:
            print(file=sys.stderr)
