"""The traffic of the demo: what is sent is what the past week is said to have been."""

import csv
import random
import statistics
from pathlib import Path

import pytest

from hack.demo.scaling import (
    CYCLE,
    DAY,
    FADE_SECONDS,
    HISTORY_DAYS,
    MORNING,
    NIGHT,
    NOON,
    SPEED,
    history,
    rate_at,
    write_trace,
)
from hack.load.options import Options
from hack.load.schedule import draw

RAMP = 1_800_000_000.0


def test_the_replayed_trace_has_the_rates_of_the_day(tmp_path: Path) -> None:
    trace = write_trace(tmp_path / "day.csv")
    with trace.open() as file:
        rows = list(csv.DictReader(file))
    assert 0 <= float(rows[-1]["t_s"]) < DAY
    begin = random.Random(2).uniform(0, CYCLE - 120)  # noqa: S311
    options = Options(("http://127.0.0.1",), trace=trace, speed_up=SPEED, trace_start=begin * SPEED, seconds=120)
    expected = statistics.fmean(rate_at(begin + second) for second in range(120))
    assert len(draw(options).times) / 120 == pytest.approx(expected, rel=0.1)


def test_the_past_has_the_same_rise_at_the_same_minute() -> None:
    lines = [line.split() for line in history("a", "chat", RAMP, RAMP - 150) if not line.startswith("#")]
    values = {float(at): float(value) for _, value, at in lines}
    assert min(values) <= RAMP - 150 - HISTORY_DAYS * DAY + 60
    fading = [value for at, value in values.items() if at >= RAMP - 150 + FADE_SECONDS]
    assert fading == sorted(fading, reverse=True)
    assert (fading[0], fading[-1]) == (NIGHT, 0), "what is sent takes its place, and nothing is added to that"
    for day in range(1, HISTORY_DAYS):
        yesterday = RAMP - day * DAY
        assert statistics.fmean(values[yesterday - 60 * minute] for minute in range(10)) == pytest.approx(
            NIGHT, rel=0.1
        )
        assert statistics.fmean(values[yesterday + 60 * minute] for minute in range(3, 13)) == pytest.approx(
            NOON, rel=0.1
        )
    assert rate_at(MORNING * CYCLE) == NIGHT
