"""`springtide backtest`: how good the forecasts would have been on a trace, beside simple models."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, cast

import numpy as np

from springtide.cli.recorded import Unusable, read_rows, source
from springtide.forecast.archive import BadArchive
from springtide.forecast.backtest import Backtest, TooShort, backtest
from springtide.forecast.checkpoint import Checkpoint, load_checkpoint
from springtide.forecast.ensemble import Ensemble
from springtide.forecast.horizon import DAY
from springtide.forecast.scores import Scores
from springtide.forecast.series import per_minute

_WARMUP_DAYS = 3.0
_SHOWN = (900, 950, 990)  # quantiles of the table, in thousandths


def run_backtest(options: Namespace) -> int:
    """Print the scores and return 0; or say what is wrong with the input on stderr, and return 1."""
    try:
        start = _checkpoint(options.checkpoint)
        rates = per_minute(read_rows(options))
        peers = {}
        if options.auto_arima:
            from springtide.cli.arima import auto_arima as peer

            peers["AutoARIMA"] = peer
        days = min(_WARMUP_DAYS, len(rates) / DAY / 2) if options.warmup_days is None else options.warmup_days
        done = backtest(rates, round(days * DAY), Ensemble(start), peers)
    except TooShort as problem:
        print(f"{source(options)}: {problem}", file=sys.stderr)
        return 1
    except (Unusable, BadArchive, ModuleNotFoundError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    said = _document(source(options), days, done) if options.output == "json" else None
    print(json.dumps(said, indent=1) if said else "\n".join(_table(done)))
    return 0


def _checkpoint(file: str | None) -> Checkpoint | None:
    if file is None:
        return None
    try:
        return load_checkpoint(Path(file).read_bytes())
    except BadArchive as problem:
        raise BadArchive(f"{file}: {problem}") from None


def _document(trace: str, days: float, done: Backtest) -> dict[str, Any]:
    models = {name: _measures(scores) for name, scores in done.scores.items()}
    return {
        "trace": trace,
        "minutes": done.minutes,
        "warmup_days": days,
        "scored_minutes": done.scored,
        "models": models,
    }


def _measures(scores: Scores) -> dict[str, Any]:
    """Return means over the horizons, and under `by_horizon` lists of 15; quantiles are named as P90 is."""
    by_horizon: dict[str, Any] = {"wape": scores.wape, "mase": scores.mase, "pinball": scores.pinball}
    for name in ("coverage", "width", "excess"):
        by_horizon |= {f"{name}_p{level // 10}": each for level, each in getattr(scores, name).items()}
    means = {name: float(np.mean(each)) for name, each in by_horizon.items()}
    daily = {f"daily_coverage_p{level // 10}": each.tolist() for level, each in scores.daily_coverage.items()}
    covered = {f"maximum_covered_p{level // 10}": share for level, share in scores.maximum_covered.items()}
    lists = {"by_horizon": {name: each.tolist() for name, each in by_horizon.items()}}
    return cast(dict[str, Any], _finite({**means, "maximum_error": scores.maximum, **covered, **daily, **lists}))


def _finite(value: Any) -> Any:
    """Return the value without what JSON can't say: a measure that a model lacks is left out."""
    if isinstance(value, dict):
        kept = {key: _finite(each) for key, each in value.items()}
        return {key: each for key, each in kept.items() if each is not None}
    if isinstance(value, list):
        kept_items = [_finite(each) for each in value]
        return None if None in kept_items else kept_items
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _table(done: Backtest) -> list[str]:
    bands = [head for level in _SHOWN for head in (f"P{level // 10} COV", "WIDTH")]
    rows = [["MODEL", "WAPE", "VS LAST", "MASE", "PINBALL", *bands, "MAX ERR"]]
    last = float(done.scores["last value"].wape.mean())
    for name, scores in done.scores.items():
        wape = float(scores.wape.mean())
        change = f"{100 * (wape / last - 1):+.1f} %" if last else "-"
        shares = [_percent(each.get(level)) for level in _SHOWN for each in (scores.coverage, scores.width)]
        numbers = [_number(scores.mase), _number(scores.pinball)]
        rows.append([name, f"{wape:.4f}", change, *numbers, *shares, f"{scores.maximum:.4f}"])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, "", f"{done.scored} of {done.minutes} minutes scored; means over the next 15 minutes"]


def _number(values: Any) -> str:
    mean = float(np.mean(values))
    return f"{mean:.4f}" if np.isfinite(mean) else "-"


def _percent(values: Any) -> str:
    return "-" if values is None else f"{100 * float(np.mean(values)):.1f} %"
