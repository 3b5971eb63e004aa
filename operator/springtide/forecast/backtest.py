"""The shipped forecaster over a trace, minute by minute as in service, and what others would have said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from springtide.forecast import baselines
from springtide.forecast.ensemble import Ensemble
from springtide.forecast.horizon import STEPS, Array
from springtide.forecast.scores import Scores, score

_SERVICE = "trace"
_LEAST_WARMUP = 120  # minutes


class TooShort(ValueError):
    """The trace leaves nothing to score; the message says how long it must be."""


@dataclass(frozen=True)
class Backtest:
    """What came out: scores by model, all over the same minutes."""

    minutes: int  # of the trace
    scored: int  # minutes at which forecasts were scored
    scores: dict[str, Scores]


def backtest(
    rates: Array,
    warmup: int,
    forecaster: Ensemble,
    peers: Mapping[str, Callable[[Array, Array, int], Array]] | None = None,
    progress: Callable[[int], None] = lambda minute: None,
) -> Backtest:
    """Return the scores of a series of requests a second by minute, from minute `warmup` on.

    The forecaster must be new. Models that are fitted see the minutes before `warmup` alone. `peers` are further
    models: functions from the series, the minutes of the forecasts and `warmup` to medians, [origins, STEPS]. Raises
    TooShort.
    """
    if warmup < _LEAST_WARMUP:
        raise TooShort(f"the warm-up has {warmup} minutes: models need {_LEAST_WARMUP} or more to be fitted")
    if len(rates) < warmup + 2 * STEPS:
        needed = f"scoring needs {warmup + 2 * STEPS}, of which {warmup} to warm up"
        raise TooShort(f"the trace has {len(rates)} minutes: {needed}")
    origins, made = _run(rates, warmup, forecaster, progress)
    if not len(origins):
        raise TooShort(f"nothing is known of the {len(rates) - warmup} minutes after the warm-up")
    truth = rates[origins[:, None] + np.arange(1, STEPS + 1)]
    before = rates[:warmup]
    unit = float(np.nanmean(np.abs(np.diff(before)))) if np.isfinite(np.diff(before)).any() else float("nan")
    simple = {
        "last value": baselines.last_value(rates, origins),
        "seasonal naive": baselines.seasonal_naive(rates, origins),
        "Holt": baselines.holt(rates, origins, warmup),
        "DLinear": baselines.dlinear(rates, origins, warmup),
    }
    simple |= {name: peer(rates, origins, warmup) for name, peer in (peers or {}).items()}
    scores = {name: score(median[:, :, None], truth, origins, unit) for name, median in simple.items()}
    scores |= {_title(name): score(quantiles, truth, origins, unit) for name, quantiles in made.items()}
    return Backtest(len(rates), len(origins), scores)


def _title(member: str) -> str:
    return member if member == "ensemble" else f"{member} (member)"


def _run(
    rates: Array, warmup: int, forecaster: Ensemble, progress: Callable[[int], None]
) -> tuple[Array, dict[str, Array]]:
    """Return the minutes at which there was a forecast, and the forecasts of each member that always had one."""
    origins: list[int] = []
    made: dict[str, list[Array]] = {}
    for minute in range(len(rates) - STEPS):
        forecaster.observe(minute, {_SERVICE: float(rates[minute])})
        progress(minute)
        if minute < warmup or not np.isfinite(rates[minute + 1 : minute + STEPS + 1]).any():
            continue
        said = forecaster.explain(_SERVICE)
        if "ensemble" in said:
            origins.append(minute)
            for name, quantiles in said.items():
                made.setdefault(name, []).append(quantiles.astype(np.float32))
    return np.array(origins, dtype=np.int64), {
        name: np.stack(each) for name, each in made.items() if len(each) == len(origins)
    }
