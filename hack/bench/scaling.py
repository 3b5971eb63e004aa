"""What scaling costs and what is late, over recorded traffic: `python -m hack.bench.scaling --traces DIR`.

Each policy is simulated over each trace, with the code that `springtide simulate` runs, at a cold start of 180 s.
`score` is what is published; `tune` are days that are not scored, on which the defaults were chosen. `bound` is what
the forecast alone would cost on those days: capacity by the minute, in fractions of replicas, as it was forecast for
when a replica is ready, with the least safety that attains the objective. HPA is shown at
its default and at the target that, in hindsight, costs least at the attainment. No day is scored that the forecaster's
network was trained on (`hack/pretrain.py`: Azure days 1-3, ServeGen m_mid and m_small days 1-7, World Cup days 1-40,
NASA days 1-28); warm-ups may be. `faults` is day 5 of Azure chat with forecasts that are wrong, and the first hours of
services that nobody knows.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from springtide.cli.policies import policy
from springtide.forecast.ensemble import Ensemble
from springtide.forecast.naive import LastValue
from springtide.forecast.series import parse_trace
from springtide.scaling.outlook import Outlook
from springtide.scaling.settings import PoolLimits, ScalingSettings
from springtide.scaling.tuning import TUNING, Tuning
from springtide.simulation.peers import DynamoPlanner, HorizontalPodAutoscaler
from springtide.simulation.run import Policy, Scenario, run
from springtide.simulation.score import Score, reference, score
from springtide.simulation.springtide import Springtide
from springtide.simulation.trace import Trace, arrivals, binned
from springtide.simulation.view import SCRAPE

_DAY = 86400
_MOST = 1000
_SAFETIES = tuple(round(0.1 * step, 1) for step in range(2, 41))
_USES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
_TARGETS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05)
POLICIES = (
    *("springtide", "springtide-last-value", "springtide-reactive"),
    *("hpa", "hpa-tuned", "knative-kpa", "dynamo-planner", "dynamo-tuned", "static"),
)


@dataclass(frozen=True)
class Recorded:
    """A trace: the file, what a replica serves, the share of requests kept, spans (first, last, warm-up) in days.

    `epoch` is when it began, in Unix seconds.
    """

    file: str
    rate: float
    share: float
    epoch: int
    tune: tuple[float, float, float] | None
    score: tuple[float, float, float]


TRACES = {
    "azure-chat": Recorded("azure2024_conv_10s_days1-5.csv", 2.0, 1.0, 1715472000, (0, 3, 1), (0, 5, 3)),
    "world-cup": Recorded("worldcup1998_1min_days1-61.csv", 10.0, 1.0, 893971800, (37, 47, 3), (44, 61, 3)),
    "nasa": Recorded("nasa1995_1min.csv", 0.03, 1.0, 804571200, (1, 15, 3), (34, 58, 3)),
    "m-mid": Recorded("servegen_m_mid_1min_recon.csv", 2.0, 0.05, 345600, (0, 6, 2), (4, 14, 3)),
    "m-small": Recorded("servegen_m_small_1min_recon.csv", 2.0, 0.05, 345600, (0, 6, 2), (4, 14, 3)),
    "deepseek-r1": Recorded("servegen_deepseek_r1_1min_recon.csv", 0.6, 1.0, 345600, None, (0, 1, 0.5)),
}


def main() -> int:
    """Print one object: by trace, policy and attainment what came of it."""
    parser = argparse.ArgumentParser(description="Simulates policies over recorded traffic.")
    parser.add_argument("--traces", type=Path, required=True, metavar="DIR", help="where the traces are")
    parser.add_argument("--only", nargs="+", choices=sorted(TRACES), default=sorted(TRACES))
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--attainments", nargs="+", type=float, default=[0.99, 0.999])
    parser.add_argument("--part", choices=("score", "tune", "bound", "faults"), default="score")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of the defaults; for tuning")
    options = parser.parse_args()
    names = {one.name for one in fields(Tuning)}
    changes = dict(one.split("=", 1) for one in options.set)
    if unknown := changes.keys() - names:
        parser.error(f"--set: {', '.join(unknown)}: must be one of {', '.join(sorted(names))}")
    tuning = replace(TUNING, **{name: type(getattr(TUNING, name))(value) for name, value in changes.items()})
    results: dict[str, dict[str, object]] = {}
    if options.part == "faults":
        results = _faults(options.traces, options.seed, tuning)
    for name in options.only if options.part != "faults" else ():
        recorded = TRACES[name]
        span = recorded.score if options.part == "score" else recorded.tune
        if span is None:
            continue
        for attainment in options.attainments:
            scenario = _scenario(options.traces / recorded.file, recorded, span, attainment, options.seed)
            least = reference(scenario)
            if options.part == "bound":
                results[f"{name} {100 * attainment:g}"] = _bound(
                    scenario, least[0], recorded.epoch + int(span[0] * _DAY)
                )
                continue
            for chosen in options.policies:
                began = time.monotonic()
                result = _result(chosen, scenario, least, recorded.epoch + int(span[0] * _DAY), tuning)
                results.setdefault(f"{name} {100 * attainment:g}", {})[chosen] = asdict(result)
                _say(f"{name:12} {100 * attainment:5g} {chosen:22}", result, time.monotonic() - began)
    print(json.dumps({"part": options.part, "tuning": asdict(tuning), "results": results}))
    return 0


def _scenario(
    path: Path, recorded: Recorded, span: tuple[float, float, float], attainment: float, seed: int
) -> Scenario:
    trace = binned(parse_trace(path.read_text()))
    first, last, warmup = span
    part = trace.counts[int(first * _DAY / trace.seconds) : int(last * _DAY / trace.seconds)]
    if recorded.share < 1:
        # Thinning keeps the noise of a Poisson process, scaling would not.
        part = np.random.default_rng([seed, 2]).binomial(part, recorded.share)
    made = arrivals(Trace(0.0, trace.seconds, part), seed)
    return Scenario(made, recorded.rate, 1, _MOST, 180.0, 5.0, attainment, int(warmup * _DAY), seed)


def _result(name: str, scenario: Scenario, least: tuple[float, float], epoch: int, tuning: Tuning) -> Score:
    if name in ("hpa-tuned", "dynamo-tuned"):
        tried = [
            _scored(scenario, least, chosen)
            for chosen in (
                map(HorizontalPodAutoscaler, _TARGETS)
                if name == "hpa-tuned"
                else (DynamoPlanner(scenario.slo, use) for use in _USES)
            )
        ]
        good = [one for one in tried if one.attainment >= scenario.attainment]
        return min(good, key=lambda one: one.gpu_hours) if good else max(tried, key=lambda one: one.attainment)
    settings = ScalingSettings((PoolLimits("gpu", 1, _MOST),), attainment=scenario.attainment)
    ours = policy(name, scenario, lambda forecaster: Springtide(settings, forecaster, epoch, tuning=tuning))
    return _scored(scenario, least, ours)


def _bound(scenario: Scenario, clairvoyant: float, epoch: int) -> dict[str, object]:
    """Return what was attained, and the ratio, by forecasts of the minute in which replicas become ready.

    A minute is scraped SCRAPE seconds after its end, and a replica serves the cold start later.
    """
    ahead = int((SCRAPE + scenario.cold_start) // 60)
    minutes = scenario.arrivals[: len(scenario.arrivals) // 60 * 60].reshape(-1, 60)
    ensemble, rows = Ensemble(), np.full((len(minutes) + ahead + 1, 2), np.nan)
    for minute, counts in enumerate(minutes):
        ensemble.observe(epoch // 60 + minute, {"service": float(counts.mean())})
        said = ensemble.predict().get("service")
        if said is not None:
            rows[minute + 1 + ahead] = said[ahead, 0], said[ahead, -1]
    first = scenario.warmup // 60
    for safety in _SAFETIES:
        capacity = rows[first : len(minutes), 0] * (rows[:, 1] / rows[:, 0])[first : len(minutes)] ** safety
        queue, late = 0.0, 0
        for serves, counts in zip(capacity.tolist(), minutes[first:].tolist(), strict=True):
            for count in counts:
                queue = max(queue + count - serves, 0.0)
                late += count * (queue > scenario.slo * serves)
        attained = 1 - late / minutes[first:].sum()
        if attained >= scenario.attainment:
            break
    ratio = capacity.sum() / 60 / scenario.rate / clairvoyant
    print(f"bound {100 * attained:7.3f} %  ratio {ratio:.3f}  safety {safety}", file=sys.stderr, flush=True)
    return {"bound": {"attainment": attained, "ratio": ratio, "safety": safety}}


def _faults(traces: Path, seed: int, tuning: Tuning) -> dict[str, dict[str, object]]:
    """Return what bad forecasts cost against none, and how the first hours of a service go against HPA at 0.7."""
    chat = TRACES["azure-chat"]
    scenario = _scenario(traces / chat.file, chat, (3, 5, 1), 0.99, seed)
    least = reference(scenario)
    settings = ScalingSettings((PoolLimits("gpu", 1, _MOST),))
    epoch = chat.epoch + 3 * _DAY
    results: dict[str, dict[str, object]] = {"forecast": {}, "first hour": {}}
    alone = _scored(scenario, least, Springtide(settings, None, epoch, tuning=tuning))
    _say("no forecast", alone, 0.0)
    results["forecast"]["none"] = asdict(alone)
    for name, distort in FAULTS.items():
        result = _scored(scenario, least, Springtide(settings, LastValue(), epoch, tuning=tuning, distort=distort))
        _say(f"forecast {name}", result, 0.0)
        results["forecast"][name] = asdict(result)
    for hour in range(0, 24, 4):
        part = replace(scenario, arrivals=scenario.arrivals[hour * 3600 : (hour + 1) * 3600], warmup=0)
        first = reference(part)
        for name, chosen in (
            ("springtide", Springtide(settings, Ensemble(), epoch + hour * 3600, tuning=tuning)),
            ("hpa", HorizontalPodAutoscaler()),
        ):
            result = _scored(part, first, chosen)
            _say(f"first hour from {hour:2} {name}", result, 0.0)
            results["first hour"][f"{name} {hour}"] = asdict(result)
    return results


def _scaled(factor: float) -> Callable[[Outlook, float], Outlook]:
    def scaled(outlook: Outlook, now: float) -> Outlook:
        return replace(outlook, rates=tuple(tuple(factor * rate for rate in row) for row in outlook.rates))

    return scaled


FAULTS: dict[str, Callable[[Outlook, float], Outlook]] = {
    "right": lambda outlook, now: outlook,
    "NaN": _scaled(float("nan")),
    "x 10": _scaled(10.0),
    "x 1.9": _scaled(1.9),
    "0": _scaled(0.0),
    "30 min old": lambda outlook, now: replace(outlook, issued=outlook.issued - 1800),
}


def _scored(scenario: Scenario, least: tuple[float, float], policy: Policy) -> Score:
    return score(scenario, run(scenario, policy, time.thread_time), least)[0]


def _say(what: str, result: Score, seconds: float) -> None:
    print(
        f"{what} {100 * result.attainment:7.3f} %  ratio {result.ratio:.3f}  {result.gpu_hours:8.1f} h  "
        f"{result.actions_per_day:6.0f} a day  peak {result.peak_replicas:4}  {result.wait_p99_seconds:6.1f} s  "
        f"{result.decision_cpu_milliseconds_p99:.2f} ms  [{seconds:.0f} s]",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
