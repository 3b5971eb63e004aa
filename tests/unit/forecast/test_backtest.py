"""The backtest tells a good forecaster from a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from springtide.cli.main import main
from springtide.forecast.backtest import Backtest, TooShort, backtest
from springtide.forecast.ensemble import Ensemble
from springtide.forecast.horizon import DAY, STEPS
from springtide.forecast.scores import score
from tests.unit.forecast.services import waves

WARMUP = int(1.5 * DAY)


@pytest.fixture(scope="module")
def done() -> Backtest:
    return backtest(waves(2.5), WARMUP, Ensemble())


def test_a_daily_wave_is_forecast_far_better_than_by_the_last_value(done: Backtest) -> None:
    assert done.scored == DAY - STEPS
    wape = {name: float(scores.wape.mean()) for name, scores in done.scores.items()}
    assert wape["ensemble"] < 0.8 * wape["last value"]
    assert wape["ensemble"] < 1.02 * wape["Holt"]
    # the last value as a member is the same last value
    assert wape["last-value (member)"] == pytest.approx(wape["last value"], rel=1e-3)
    # nobody can do better than the noise of the counts
    assert wape["ensemble"] > 0.02


def test_bands_cover_what_they_promise(done: Backtest) -> None:
    made = done.scores["ensemble"]
    for level, share in ((900, 0.90), (950, 0.95)):
        assert made.coverage[level].mean() == pytest.approx(share, abs=0.02)
    last = done.scores["last-value (member)"]
    assert made.width[900].mean() < last.width[900].mean()
    assert made.pinball.mean() < last.pinball.mean()


def test_the_end_of_the_series_has_no_influence_on_its_beginning() -> None:
    rates = waves(0.3)
    changed = rates.copy()
    changed[300:] *= 10
    made = [_early(one) for one in (rates, changed)]
    assert (made[0] == made[1]).all()


def _early(rates: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    forecaster = Ensemble()
    for minute in range(300):
        forecaster.observe(minute, {"x": float(rates[minute])})
    return forecaster.predict()["x"]


def test_measures_by_hand() -> None:
    truth = np.array([[1.0, 2.0], [3.0, np.nan]])
    quantiles = np.array([[[1.0, 1, 2, 3, 4], [1.0, 1, 2, 3, 4]], [[1.0, 1, 2, 3, 4], [1.0, 1, 2, 3, 4]]])
    made = score(quantiles, truth, np.array([0, DAY]), unit=0.5)
    assert made.wape == pytest.approx([2 / 2 / 2, 0.5])
    assert made.mase == pytest.approx([2, 2])
    assert made.coverage[900] == pytest.approx([0.5, 1])
    assert made.coverage[950] == pytest.approx([1, 1])
    assert made.width[950] == pytest.approx([1, 1])
    assert made.excess[990] == pytest.approx([1, 1])
    assert made.daily_coverage[900] == pytest.approx([1, 0])
    assert made.maximum == pytest.approx(0.5)
    assert made.maximum_covered[900] == 1
    by_hand = [q * 1 for q in (0.5, 0.8)] + [0, (1 - 0.95) * 1, (1 - 0.99) * 2]
    assert made.pinball[1] == pytest.approx(np.mean(by_hand) / 2)


def test_unknown_minutes_are_not_scored() -> None:
    rates = waves(0.3)
    rates[250:330] = np.nan
    made = backtest(rates, 200, Ensemble())
    assert all(np.isfinite(scores.wape).all() for scores in made.scores.values())
    assert made.scored < len(rates) - 200 - STEPS


def test_too_little_to_score() -> None:
    with pytest.raises(TooShort, match="scoring needs 230, of which 200 to warm up"):
        backtest(waves(0.1), 200, Ensemble())
    with pytest.raises(TooShort, match="nothing is known"):
        backtest(np.append(waves(0.1), np.full(100, np.nan)), 150, Ensemble())


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("traces") / "wave.csv"
    counts = np.round(60 * waves(0.4)).astype(int)
    path.write_text("t_s,requests\n" + "".join(f"{60 * minute},{count}\n" for minute, count in enumerate(counts)))
    return str(path)


def test_json_has_every_measure(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "--trace", trace, "--warmup-days", "0.2", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["minutes"] == 576
    assert made["scored_minutes"] == 576 - 288 - STEPS
    assert {"last value", "seasonal naive", "Holt", "DLinear", "ensemble", "lstm (member)"} <= set(made["models"])
    ensemble = made["models"]["ensemble"]
    assert {"wape", "mase", "pinball", "coverage_p90", "width_p95", "excess_p99", "maximum_error"} <= set(ensemble)
    assert len(ensemble["by_horizon"]["wape"]) == STEPS
    assert ensemble["wape"] == pytest.approx(np.mean(ensemble["by_horizon"]["wape"]))
    assert "pinball" not in made["models"]["Holt"]


def test_the_table(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "--trace", trace, "--warmup-days", "0.2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["MODEL", "WAPE"]
    assert lines[1].split()[:2] == ["last", "value"]
    assert lines[-1] == "273 of 576 minutes scored; means over the next 15 minutes"


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (b"t_s,requests\n0,1\n60,x\n", [], ":3: expected numbers for t_s,requests"),
        (b"t_s,requests\n0,1\n60,1\n", [], "the warm-up has 1 minutes"),
        (b"t_s,requests\n0,1\n60,1\n", ["--warmup-days", "1"], "the trace has 2 minutes"),
        (b"\xff\xfe", [], "must be text in UTF-8"),
        (None, [], "No such file"),
        (b"t_s,requests\n0,1\n60,1\n", ["--checkpoint", "{trace}"], "not a forecast checkpoint, or damaged"),
    ],
)
def test_bad_input_is_named(
    content: bytes | None, options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trace.csv"
    if content is not None:
        path.write_bytes(content)
    arguments = [option.format(trace=path) for option in options]
    assert main(["backtest", "--trace", str(path), *arguments]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert str(path) in error


def test_warm_up_is_checked(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["backtest", "--trace", "x", "--warmup-days", "-1"])
    assert "is not a number of days from 0.1 to 366" in capsys.readouterr().err
