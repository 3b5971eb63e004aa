"""Which TrafficForecasts are read, and what is said of each."""

from dataclasses import replace
from datetime import UTC, datetime
from math import isnan, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from springtide.api.trafficforecast import FORECASTER
from springtide.scaling.decide import decide
from springtide.scaling.forecasts import Reading, judge, read_forecasts
from springtide.scaling.observed import Traffic
from springtide.scaling.outlook import fault
from springtide.scaling.settings import PoolLimits
from springtide.scaling.statements import Statement
from tests.unit.forecast_specs import GOOD, announcement, quantile, series, stated
from tests.unit.scaling.scenes import SETTINGS, calm, seen, watched

START = datetime(2026, 12, 1, 20, tzinfo=UTC).timestamp()  # of the launch
LEAD = (120.0, 300.0)
NOW = START - 300.0


def forecast(name: str = "own", producer: str = "own-model", minute: int = 55, steps: int = 15) -> Statement:
    """A forecast of 40 requests a second that was issued in this minute after 19:00."""
    rates = [40_000] * steps
    issued = f"2026-12-01T19:{minute:02}:00Z"
    return stated(name, **series(quantile(500, *rates), quantile(900, *rates), producer=producer, issuedAt=issued))


def launch(created: float = NOW - 600, baseline: float = nan, **more: Any) -> Statement:
    return stated("launch", created, baseline, **announcement(**({"multiplier": 8} | more)))


def reading(*statements: Statement, now: float = NOW, rate: float = 40.0) -> Reading:
    return read_forecasts(statements, now, rate, LEAD)


def reasons(made: Reading) -> dict[str, str]:
    return {name: verdict.reason for name, verdict in made.verdicts.items()}


def announced(made: Reading) -> float:
    """Return the rate that is announced, NaN where none is."""
    return made.announced[0].rates[0][0] if made.announced else nan


def test_a_series_is_read_by_absolute_time() -> None:
    one = stated(**series(quantile(500, 1500, 2000), quantile(900, 1500, 2500), startsAt="2026-12-01T19:54:30Z"))
    made = reading(one)
    assert made.outlook is not None
    assert (made.outlook.issued, made.outlook.levels) == (NOW - 30, (500, 900))
    assert made.outlook.rates == ((1.5, 1.5), (2.0, 2.5))
    assert made.outlook.bounded
    assert (made.chosen, reasons(made)) == ("own", {"own": "Used"})


def test_the_newest_is_used() -> None:
    made = reading(forecast("a", minute=54), forecast("b", minute=52), forecast("c", minute=53))
    assert (made.chosen, reasons(made)) == ("a", {"a": "Used", "b": "Superseded", "c": "Superseded"})
    assert made.verdicts["b"].message == "scaling reads a by own-model instead, which is newer"


def test_that_of_a_user_goes_before_ours() -> None:
    made = reading(forecast("ours", FORECASTER, 55), forecast("own", minute=50))
    assert (made.chosen, reasons(made)) == ("own", {"own": "Used", "ours": "Superseded"})
    assert made.verdicts["ours"].message == "scaling reads own by own-model instead, which goes before Springtide's own"


def test_one_that_ends_too_soon_gives_way() -> None:
    made = reading(forecast("ours", FORECASTER, 55), forecast("own", minute=50, steps=6))
    assert reasons(made) == {"ours": "Used", "own": "Doubted"}
    made = reading(forecast("own", minute=50, steps=6))
    assert reasons(made) == {"own": "Used"}, "the decision itself says that it is too short"


def test_one_that_this_minute_proves_wrong_gives_way() -> None:
    ours = stated("ours", **series(quantile(500, *[100_000] * 15), producer=FORECASTER))
    made = reading(forecast("own"), ours, rate=100.0)
    assert reasons(made) == {"ours": "Used", "own": "Doubted"}
    assert made.verdicts["own"].message == (
        "the forecast has 40.0 requests a second at most for now, 100.0 were measured; "
        "scaling reads ours by springtide-forecaster instead"
    )
    assert reasons(reading(forecast("own"), ours, rate=nan)) == {"own": "Used", "ours": "Superseded"}


def test_what_is_over_or_to_come_is_not_used() -> None:
    made = reading(forecast("past", minute=30), forecast("future", minute=57), forecast("soon", minute=56))
    assert reasons(made) == {"past": "Expired", "future": "NotStarted", "soon": "Used"}
    tomorrow = stated("plan", **series(quantile(500, 1), startsAt="2026-12-02T00:00:00Z"))
    assert reasons(reading(tomorrow)) == {"plan": "NotStarted"}
    assert reading(tomorrow).outlook is None


def test_nothing_is_written() -> None:
    assert reading() == Reading()


@pytest.mark.parametrize(
    ("before", "reason"),
    [(316, "NotStarted"), (315, "Used"), (0, "Used"), (-7199, "Used"), (-7200, "Expired")],
)
def test_a_launch_counts_from_a_lead_before_it_begins(before: float, reason: str) -> None:
    made = reading(launch(baseline=40.0), now=START - before)
    assert reasons(made) == {"launch": reason}
    assert bool(made.announced) is (reason == "Used")
    for one in made.announced:
        assert (one.bounded, one.rates[0]) == (False, (320.0,))
        assert one.issued == max(START, START - before)
        assert one.until - 60 < START + 7200 <= one.until


def test_a_launch_multiplies_what_the_forecast_expects_then_else_the_rate_now() -> None:
    rises = stated(**series(quantile(500, *[40_000] * 5, *[50_000] * 10), quantile(900, *[60_000] * 15)))
    assert announced(reading(launch(), rises)) == 8 * 50
    assert announced(reading(launch())) == 8 * 40
    assert announced(reading(launch(), rises, rate=nan)) == 8 * 50
    assert announced(reading(launch(), forecast("short", steps=5))) == 8 * 40, "it ends when the launch begins"
    absurd = stated(**series(quantile(500, *[400_000] * 15)))
    assert announced(reading(launch(), absurd)) == 8 * 40, "a forecast that now proves wrong is not multiplied"
    assert announced(reading(launch(multiplier="10000"), rate=1e6)) == 1e9, "nothing absurd comes of it"


def test_a_launch_multiplies_what_was_recorded_once_it_has_begun() -> None:
    made = reading(launch(baseline=40.0), forecast(), now=START + 60, rate=300.0)
    assert announced(made) == 8 * 40, "not 8 times the traffic of the launch itself"
    assert made.verdicts["launch"].baseline == 40.0
    lost = reading(launch(), now=START + 60, rate=300.0)
    assert reasons(lost) == {"launch": "BaselineLost"}
    late = reading(launch(created=START), now=START, rate=40.0)
    assert announced(late) == 8 * 40, "what was announced too late to record anything multiplies the rate now"
    assert announced(reading(launch(START, late.verdicts["launch"].baseline), now=START + 60, rate=300.0)) == 8 * 40


def test_what_is_expected_is_recorded_again_when_it_moved() -> None:
    def recorded(baseline: float, rate: float, ahead: float = 600.0) -> float:
        return reading(launch(baseline=baseline), now=START - ahead, rate=rate).verdicts["launch"].baseline

    assert recorded(nan, 40.0) == 40.0
    assert recorded(40.0, 44.0) == 40.0
    assert recorded(40.0, 44.1) == 44.1
    assert recorded(40.0, 30.0) == 30.0
    assert recorded(40.0, nan) == 40.0
    assert isnan(recorded(nan, 40.0, ahead=3601.0)), "hours ahead it would only be written again and again"


def test_nothing_can_be_multiplied() -> None:
    assert reasons(reading(launch(), rate=nan)) == {"launch": "RateUnknown"}
    made = reading(launch(), rate=0.0)
    assert reasons(made) == {"launch": "NothingExpected"}
    assert "say requestsPerSecond" in made.verdicts["launch"].message
    for rate in (nan, 0.0):
        new = stated("launch", **announcement(requestsPerSecond="12.5"))
        assert announced(reading(new, rate=rate)) == 12.5
        assert isnan(reading(new, rate=rate).verdicts["launch"].baseline)


def judged(made: Reading, rate: float = 40.0, capacity: float = 2.0, **more: Any) -> dict[str, str]:
    chosen = replace(SETTINGS, **more)
    scene = replace(seen(rate, 21, now=NOW), outlook=made.outlook, announced=made.announced)
    scene = replace(scene, pools={"gpu": replace(scene.pools["gpu"], capacity=capacity)})
    decision = decide(scene, chosen, calm(watched(40, 21)))
    return {name: one.reason for name, one in judge(made, chosen, decision).items()}


def test_settings_and_the_decision_have_the_last_word() -> None:
    made = reading(forecast(), launch(baseline=40.0), forecast("old", minute=10))
    fine = {"own": "Used", "launch": "Used", "old": "Expired"}
    assert judged(made) == fine
    assert judged(made, mode="Off") == fine | {"own": "ScalingOff", "launch": "ScalingOff"}
    assert judged(made, mode="Observe") == fine | {"own": "Observed", "launch": "Observed"}
    assert judged(made, forecast="Off") == fine | {"own": "ForecastsOff", "launch": "ForecastsOff"}
    assert judged(made, forecast="Observe") == fine | {"own": "Observed"}
    fixed = (PoolLimits("gpu", 3, 3),)
    assert judged(made, pools=fixed) == fine | {"own": "NothingToScale", "launch": "NothingToScale"}
    assert judged(made, rate=nan) == fine | {"own": "MetricsStale"}
    assert judged(made, rate=nan, capacity=nan) == fine | {"own": "MetricsStale", "launch": "MetricsStale"}
    assert judged(made, rate=400.0) == fine | {"own": "Doubted"}, "nobody doubts a person"


def test_a_launch_starts_replicas_ahead() -> None:
    now = START - 200
    made = reading(launch(), now=now)
    scene = replace(seen(40, 21, now=now), announced=made.announced)
    decision = decide(scene, replace(SETTINGS, pools=(PoolLimits("gpu", 1, 1000, prior=2.0),)), calm(watched(40, 21)))
    assert decision.reason == "AnnouncementRises"
    assert decision.targets["gpu"] >= 8 * 20


def test_trouble_is_told() -> None:
    made = reading(forecast())
    decision = decide(replace(seen(40, 21, now=NOW), traffic=Traffic()), SETTINGS, watched())
    verdict = judge(made, SETTINGS, decision, "Prometheus: Unreachable")["own"]
    assert (verdict.used, verdict.message) == (False, "Prometheus: Unreachable; replicas are held")
    assert verdict.fleeting


RATES = some.lists(some.integers(0, 10**12), min_size=1, max_size=20)


@some.composite
def a_series(draw: some.DrawFn) -> dict[str, Any]:
    rows = sorted(draw(some.lists(some.tuples(RATES), min_size=1, max_size=3)), key=str)
    length = min(len(row) for (row,) in rows)
    columns = [sorted(column) for column in zip(*(row[:length] for (row,) in rows), strict=True)]
    levels = sorted(draw(some.sets(some.integers(1, 999), min_size=len(rows), max_size=len(rows))))
    made = [quantile(level, *(column[index] for column in columns)) for index, level in enumerate(levels)]
    return series(*made, producer=draw(some.sampled_from(["own-model", FORECASTER])), issuedAt=draw(TIMES))


TIMES = some.datetimes(datetime(2000, 1, 2), datetime(2999, 12, 30), timezones=some.just(UTC)).map(
    lambda time: f"{time.replace(tzinfo=None).isoformat()}Z"
)
NEAR = some.floats(-90_000, 90_000).map(lambda seconds: NOW + seconds)
AMOUNTS = some.integers(2, 10_000) | some.sampled_from(["1001m", "1.000000001", "9999.9"])
SPECS = some.one_of(
    a_series(),
    some.sampled_from(GOOD),
    AMOUNTS.map(lambda amount: announcement(multiplier=amount)),
    some.integers(1, 10**9).map(lambda amount: announcement(requestsPerSecond=amount)),
)
NUMBERS = some.floats(0, 1e12) | some.just(nan)


@settings(max_examples=200, deadline=None)
@given(some.lists(some.tuples(SPECS, NEAR, NUMBERS), max_size=4), NEAR, NUMBERS, some.floats(0, 86400))
def test_whatever_is_valid_can_be_read_and_decided_by(
    written: list[tuple[dict[str, Any], float, float]], now: float, rate: float, lead: float
) -> None:
    statements = [stated(str(index), created, base, **spec) for index, (spec, created, base) in enumerate(written)]
    made = read_forecasts(statements, now, rate, (lead / 2, lead))
    assert made.verdicts.keys() == {one.name for one in statements}
    assert sum(verdict.used for verdict in made.verdicts.values()) == len(made.announced) + (made.outlook is not None)
    assert not [fault(one) for one in (*made.announced, made.outlook) if one is not None and fault(one)]
    scene = replace(seen(rate, 21, now=now), outlook=made.outlook, announced=made.announced)
    decision = decide(scene, SETTINGS, None)
    judged = judge(made, SETTINGS, decision)
    assert all(not verdict.used or made.verdicts[name].used for name, verdict in judged.items())
    again = read_forecasts(reversed(statements), now, rate, (lead / 2, lead))
    assert str(again) == str(made), "in whatever order they come"
