"""What is decided: each complaint about other autoscalers is a test here."""

from dataclasses import replace
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from springtide.scaling.decide import decide
from springtide.scaling.observed import Observed, PoolSeen, Traffic
from springtide.scaling.safety import Safety
from springtide.scaling.schedules import Schedule
from springtide.scaling.settings import Mode, PoolLimits, ScalingSettings
from springtide.scaling.state import State
from tests.unit.scaling.scenes import P50, SETTINGS, START, UNKNOWN, calm, follow, outlook, pool, seen, watched


def target(scene: Observed, state: State | None = None, chosen: ScalingSettings = SETTINGS) -> int:
    return decide(scene, chosen, state).targets["gpu"]


def test_live_metrics_ask_for_three_times_what_is_ready_at_most() -> None:
    chosen = replace(SETTINGS, pools=(PoolLimits("gpu", 1, 1000),))
    made = decide(seen(900, 60, queue=1e5), chosen, watched())
    assert made.targets["gpu"] == pytest.approx(180, abs=20)
    assert decide(seen(900, 2, queue=1e5), chosen, watched()).targets["gpu"] == pytest.approx(100, abs=10)


def test_steady_load_moves_nothing() -> None:
    state = calm(watched(40, 21))
    made = follow((seen(40, 21, now=START + 15 * step) for step in range(100)), state)
    assert {one.targets["gpu"] for one in made} == {21}
    assert made[-1].reason == "Steady"


def test_more_load_starts_replicas_at_once() -> None:
    made = decide(seen(60, 20), SETTINGS, calm(watched()))
    assert made.targets["gpu"] >= 30
    assert made.reason == "LoadRises"
    assert made.inputs["rate"] == 60


def test_headroom_grows_with_volatility() -> None:
    steady = replace(calm(watched(40, 40)), safety=Safety(1.0))
    restless = steady
    for step in range(240):
        rate = 40 if step // 20 % 2 else 60
        restless = decide(seen(rate, 40, now=START + 15 * step), SETTINGS, restless).state
    later = START + 15 * 240
    resting = follow((seen(40, 40, now=START + 15 * step) for step in range(240)), steady)[-1].state
    restless_need = decide(seen(40, 20, now=later), SETTINGS, restless).inputs["needed"]
    steady_need = decide(seen(40, 20, now=later), SETTINGS, resting).inputs["needed"]
    assert restless_need > 1.1 * steady_need


# Too late: capacity lands well into the peak.


def test_a_forecast_moves_to_the_rate_that_was_measured_after_it() -> None:
    said = outlook(START - 15, 40, 40, 40, 50)
    state = calm(watched(40, 21))
    assert decide(seen(42, 21, outlook=said), SETTINGS, state).inputs["floor"] == pytest.approx(50)  # chance
    higher = decide(seen(48, 21, outlook=said), SETTINGS, state).inputs["floor"]
    lower = decide(seen(34, 21, outlook=said), SETTINGS, state).inputs["floor"]
    assert lower < 50 < higher < 50 * 48 / 40


def test_a_forecast_starts_replicas_before_the_load_comes() -> None:
    rises = outlook(START - 15, 40, 40, 40, 50, 52, 54)
    made = decide(seen(40, 21, outlook=rises), SETTINGS, calm(watched(40, 21)))
    assert made.reason == "ForecastRises"
    assert made.targets["gpu"] == 27
    assert decide(seen(40, 21), SETTINGS, calm(watched(40, 21))).targets["gpu"] == 21


def test_a_peak_that_ends_before_a_replica_is_ready_starts_none() -> None:
    spike = outlook(START - 15, 40, 60, 40)
    assert target(seen(40, 21, outlook=spike), calm(watched(40, 21))) == 21


def test_a_peak_that_comes_soon_keeps_replicas() -> None:
    state = calm(watched(40, 40))
    scenes = [seen(40, 40, now=START + 15 * step, outlook=outlook(START + 15 * step, 40, 55)) for step in range(60)]
    assert follow(scenes, state)[-1].targets["gpu"] == 29
    without = follow((seen(40, 40, now=START + 15 * step) for step in range(60)), state)
    assert without[-1].targets["gpu"] == 21


def test_a_dearer_shortage_takes_a_higher_quantile() -> None:
    band = outlook(START - 15, 40, spread=0.5)
    state = replace(calm(watched(40, 24)), safety=Safety(1.0))
    cheap = decide(seen(40, 24, outlook=band), replace(SETTINGS, cost_of_shortage=2.0), state)
    dear = decide(seen(40, 24, outlook=band), replace(SETTINGS, cost_of_shortage=50.0), state)
    assert cheap.targets["gpu"] < dear.targets["gpu"]


# Runaway while replicas load.


def test_what_loads_is_counted() -> None:
    state = calm(watched(40, 20))
    queue, loading, targets = 0.0, 0, []
    for step in range(12):
        scene = seen(60, 20, *[15.0 * step] * loading, now=START + 15 * step, queue=queue)
        made = decide(scene, SETTINGS, state)
        state, loading = made.state, made.targets["gpu"] - 20
        targets.append(made.targets["gpu"])
        queue += 15 * 20
    # The backlog that grows meanwhile is asked for once, not at every tick.
    assert targets[-1] <= targets[0] + 2
    assert max(targets) <= 60


# Deadlock when no replica is ready, and scale-down beside one that loads.


@pytest.mark.parametrize("rate", [0.0, nan, 5.0])
def test_nothing_is_removed_while_no_replica_is_ready(rate: float) -> None:
    state = watched(40, 24)
    loading = [400.0] * 24  # older than what is waited for
    scenes = [seen(rate, 0, *loading, now=START + 15 * step) for step in range(100)]
    assert all(one.targets["gpu"] >= 24 for one in follow(scenes, state))


def test_nothing_is_removed_while_a_replica_loads() -> None:
    state = calm(watched(40, 40))
    scenes = [seen(40, 39, 100.0, now=START + 15 * step) for step in range(60)]
    made = follow(scenes, state)
    assert {one.targets["gpu"] for one in made} == {40}
    assert made[-1].reason == "Held"
    assert "loads" in made[-1].message


def test_a_stuck_replica_does_not_hold_the_others_for_ever() -> None:
    state = calm(watched(40, 40))
    scenes = [seen(40, 39, 3600.0, now=START + 15 * step) for step in range(60)]
    assert follow(scenes, state)[-1].targets["gpu"] < 30


# The source of metrics is lost.


@pytest.mark.parametrize(
    "traffic",
    [
        UNKNOWN,
        Traffic(),
        Traffic((40.0,) * 4, 0.0, age=600.0),
        Traffic((40.0,) * 4, 0.0, age=nan),
        Traffic((inf, -1.0, nan, -inf), 0.0),
    ],
)
def test_missing_metrics_hold(traffic: Traffic) -> None:
    scenes = [seen(0, 24, now=START + 15 * step, traffic=traffic) for step in range(100)]
    made = follow(scenes, watched(40, 24))
    assert {one.targets["gpu"] for one in made} == {24}
    assert made[-1].reason == "MetricsStale"


def test_what_people_announced_raises_without_metrics() -> None:
    launch = outlook(START + 240, 80, bounded=False)
    blind = seen(0, 24, traffic=UNKNOWN, announced=(launch,))
    made = decide(blind, SETTINGS, watched(40, 24))
    assert made.reason == "MetricsStale"
    assert 40 <= made.targets["gpu"] <= 50
    assert target(blind, None, replace(SETTINGS, forecast="Off")) == 24
    assert target(replace(blind, pools={"gpu": pool(24, capacity=nan)})) == 24
    small = replace(blind, announced=(outlook(START + 240, 8, bounded=False),))
    assert target(small) == 24


def test_after_a_gap_a_full_window_is_watched_again() -> None:
    state = calm(watched(40, 40))
    back = START + 3600
    made = follow((seen(40, 40, now=back + 15 * step) for step in range(80)), state)
    assert made[0].targets["gpu"] == 40
    changed = next(index for index, one in enumerate(made) if one.targets["gpu"] < 40)
    assert changed * 15 >= SETTINGS.stabilization_seconds


def test_a_clock_that_goes_back_is_a_gap() -> None:
    state = calm(watched(40, 40))
    made = follow((seen(40, 40, now=START - 7200 + 15 * step) for step in range(20)), state)
    assert {one.targets["gpu"] for one in made} == {40}


def test_the_capacity_must_be_known() -> None:
    scene = seen(80, 24, pools={"gpu": pool(24, capacity=nan)})
    made = decide(scene, SETTINGS, watched(40, 24))
    assert made.targets == {"gpu": 24}
    assert made.reason == "CapacityUnknown"
    assert "requestsPerSecond" in made.message


def test_a_prior_stands_in_and_bounds_what_was_measured() -> None:
    known = ScalingSettings((PoolLimits("gpu", 1, 1000, prior=2.0),))
    unmeasured = decide(seen(80, 24, pools={"gpu": pool(24, capacity=nan)}), known, calm(watched()))
    assert unmeasured.targets["gpu"] >= 40
    absurd = decide(seen(80, 24, pools={"gpu": pool(24, capacity=0.001)}), known, calm(watched()))
    assert absurd.targets["gpu"] <= 5 * unmeasured.targets["gpu"]


def test_one_scrape_that_lies_by_a_thousand_is_bounded() -> None:
    lie = Traffic((40.0, 40.0, 40.0, 40_000.0), 0.0, age=15.0)
    honest = target(seen(40, 24), watched())
    assert target(seen(40, 24, traffic=lie), watched()) <= 2 * honest


# State is lost.


def test_without_state_and_target_nothing_moves_down_before_a_full_window() -> None:
    scenes = [
        seen(2, 12, now=START + 15 * step, pools={"gpu": PoolSeen(12, (), 2.0, None if step == 0 else 12)})
        for step in range(80)
    ]
    made = follow(scenes, None)
    changed = next(index for index, one in enumerate(made) if one.targets["gpu"] != 12)
    assert changed * 15 >= SETTINGS.stabilization_seconds
    assert made[changed].targets["gpu"] < 12
    assert "watched" in made[0].message


def test_without_state_the_minimum_holds() -> None:
    chosen = ScalingSettings((PoolLimits("gpu", 3, 10),))
    assert target(Observed(START, UNKNOWN, {}), None, chosen) == 3


# Down too abruptly, or never.


def test_scale_down_follows_the_window_maximum() -> None:
    state = calm(watched(40, 30))
    # Every four minutes the load is back.
    rates = [40 if step % 16 == 0 else 20 for step in range(120)]
    made = follow((seen(rate, 30, now=START + 15 * step) for step, rate in enumerate(rates)), state)
    assert min(one.targets["gpu"] for one in made) >= 20
    gone = follow((seen(20, 30, now=START + 15 * step) for step in range(60)), state)
    assert gone[-1].targets["gpu"] <= 15
    assert any(one.reason == "LoadFalls" for one in gone)


def test_the_load_of_what_is_left_is_simulated_first() -> None:
    state = calm(watched(20, 30))
    calm_queue = follow((seen(20, 30, now=START + 15 * step) for step in range(40)), state)[-1]
    assert calm_queue.targets["gpu"] < 15
    # Half of the replicas that exist are not ready (and stuck): the ready ones are needed.
    short = [seen(20, 10, *[900.0] * 20, now=START + 15 * step) for step in range(40)]
    assert follow(short, state)[-1].targets["gpu"] == 30


def test_a_backlog_is_drained() -> None:
    state = calm(watched(40, 21))
    assert target(seen(40, 21, queue=4000.0), state) > 25
    # What loads already will have served it.
    assert target(seen(40, 21, *[P50 - 15] * 30, queue=1000.0), state) == 51


# Forecasts that are wrong.


@pytest.mark.parametrize(
    ("words", "bad"),
    [
        ("no steps", replace(outlook(START - 15, 40), rates=())),
        ("no number", outlook(START - 15, nan)),
        ("below 0", outlook(START - 15, -40)),
        ("ended before", outlook(START - 1800, 40)),
        ("in the future", outlook(START + 600, 400)),
        ("for now", outlook(START - 15, 400)),
        ("at most", outlook(START - 15, 0)),
        ("ascend", replace(outlook(START - 15, 40), levels=(990, 950, 900, 800, 500))),
        ("each level", replace(outlook(START - 15, 40), levels=(500, 900))),
        ("issued", replace(outlook(START - 15, 40), issued=nan)),
    ],
)
def test_a_forecast_that_is_wrong_costs_only_its_benefit(words: str, bad: object) -> None:
    state = watched(40, 24)
    without = decide(seen(40, 24), SETTINGS, state)
    made = decide(seen(40, 24, outlook=bad), SETTINGS, state)
    assert made.targets == without.targets
    assert made.inputs["needed"] == without.inputs["needed"]
    assert words in made.doubt


def test_a_forecast_costs_bounded_money() -> None:
    state = calm(watched(40, 24))
    soaring = outlook(START - 15, 40, 40, 400)
    made = decide(seen(40, 24, outlook=soaring), SETTINGS, state)
    assert made.inputs["needed"] <= 1.5 * made.inputs["reactive"]


def test_a_person_may_announce_more() -> None:
    launch = outlook(START + 240, 320, bounded=False)
    state = calm(watched(40, 24))
    made = decide(seen(40, 24, announced=(launch,)), SETTINGS, state)
    assert made.reason == "AtLimit"
    assert made.targets["gpu"] == 100
    assert made.shortage == pytest.approx(320 - 200)
    later = replace(launch, issued=START + 7200)
    assert target(seen(40, 24, announced=(later,)), state) == target(seen(40, 24), state)


@pytest.mark.parametrize("mode", ["Observe", "Off"])
def test_a_forecast_that_is_not_to_act_does_not(mode: Mode) -> None:
    chosen = replace(SETTINGS, forecast=mode)
    rises = outlook(START - 15, 40, 40, 40, 50, 52, 54)
    state = calm(watched(40, 21))
    made = decide(seen(40, 21, outlook=rises), chosen, state)
    assert made.targets["gpu"] == 21
    assert (made.inputs["floor"] > 50) == (mode == "Observe")


def test_load_that_no_forecast_saw_keeps_its_headroom() -> None:
    state = watched(40, 24)
    made = decide(seen(60, 24, outlook=outlook(START - 15, 40)), SETTINGS, state)
    assert made.inputs["needed"] == made.inputs["reactive"] > 60


# Modes, limits, pools, schedules.


def test_observe_says_what_it_would_do() -> None:
    made = decide(seen(80, 24), replace(SETTINGS, mode="Observe"), watched())
    assert made.targets == {"gpu": 24}
    assert made.wanted["gpu"] >= 40


def test_off_leaves_what_is() -> None:
    made = decide(seen(80, 24), replace(SETTINGS, mode="Off"), watched())
    assert (made.targets, made.reason) == ({"gpu": 24}, "Off")


def test_the_limit_is_reported_with_what_is_lacking() -> None:
    chosen = ScalingSettings((PoolLimits("gpu", 1, 30),))
    made = decide(seen(80, 24), chosen, calm(watched()))
    assert made.targets == {"gpu": 30}
    assert made.reason == "AtLimit"
    assert made.shortage >= 20


def test_a_pin_holds_and_says_so() -> None:
    chosen = ScalingSettings((PoolLimits("gpu", 7, 7),), pinned="gpu")
    made = decide(seen(10, 24), chosen, watched())
    assert made.targets == {"gpu": 7}
    made = decide(seen(5, 7), chosen, watched())
    assert (made.targets, made.reason) == ({"gpu": 7}, "Pinned")


TWO = ScalingSettings(
    (
        PoolLimits("dear", 1, 50, cost=10.0),
        PoolLimits("cheap", 1, 10, cost=1.0),
        PoolLimits("small", 1, 50, cost=0.1, fallback=True),
    )
)


def two(rate: float, dear: int, cheap: int, now: float = START, loading: tuple[float, ...] = ()) -> Observed:
    pools = {"dear": pool(dear), "cheap": pool(cheap, *loading), "small": pool(1)}
    return seen(rate, 0, now=now, pools=pools)


def test_the_cheapest_pool_grows_first_and_a_fallback_last() -> None:
    scenes = two(8, 1, 1), two(40, 1, 1), two(150, 40, 10)
    made = [decide(scene, TWO, calm(watched())).targets for scene in scenes]
    assert made[0]["dear"] == made[0]["small"] == 1 < made[0]["cheap"]
    assert made[1]["small"] == 1 < made[1]["dear"]
    assert made[1]["cheap"] == 10
    assert made[2]["dear"] == 50
    assert made[2]["small"] > 1


def test_the_dearest_replicas_wait_until_the_cheap_ones_are_ready() -> None:
    state = calm(watched())
    loading = [two(20, 11, 1, now=START + 15 * step, loading=(60.0,) * 8) for step in range(60)]
    made = follow(loading, state, TWO)
    # Ready are 11 dear ones, a cheap one and a small one, and ten are needed.
    assert min(one.targets["dear"] for one in made) == 8
    ready = [two(20, 11, 9, now=START + 15 * step) for step in range(60)]
    assert follow(ready, state, TWO)[-1].targets["dear"] == 1


NIGHT = Schedule("night", "gpu", "Europe/Berlin", (4,), 22 * 60, 6 * 60, 12)  # Friday 22:00 to Saturday 06:00


@pytest.mark.parametrize(
    ("day", "hour", "least"),
    [(4, 21.95, 12), (4, 23, 12), (5, 5.9, 12), (5, 6, 0), (4, 12, 0), (3, 23, 0), (5, 23, 0), (4, 21.5, 0)],
)
def test_a_schedule_across_midnight(day: int, hour: float, least: int) -> None:
    chosen = replace(SETTINGS, schedules=(NIGHT,))
    scene = seen(5, 3, week_minutes={"Europe/Berlin": day * 1440 + hour * 60})
    made = decide(scene, chosen, calm(watched(5, 3)))
    assert made.targets["gpu"] == max(least, 3)
    assert (made.reason == "ScheduleRises") == bool(least)


def test_a_schedule_holds_without_metrics() -> None:
    chosen = replace(SETTINGS, schedules=(NIGHT,))
    scene = seen(2, 3, week_minutes={"Europe/Berlin": 4 * 1440 + 23 * 60}, traffic=UNKNOWN)
    assert target(scene, watched(2, 3), chosen) == 12


NUMBERS = some.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=300, deadline=None)
@given(
    rates=some.lists(NUMBERS, max_size=5),
    queue=NUMBERS,
    latency=NUMBERS,
    age=NUMBERS,
    ready=some.integers(0, 200),
    loading=some.lists(some.floats(0, 1e5), max_size=5),
    capacity=NUMBERS,
    recorded=some.none() | some.integers(0, 200),
    times=some.tuples(NUMBERS, NUMBERS),
    medians=some.lists(NUMBERS, min_size=1, max_size=15),
    issued=some.floats(START - 2000, START + 2000),
    now=some.floats(START - 1e5, START + 1e5),
)
def test_whatever_is_seen_limits_hold_and_only_fresh_metrics_remove(
    rates: list[float],
    queue: float,
    latency: float,
    age: float,
    ready: int,
    loading: list[float],
    capacity: float,
    recorded: int | None,
    times: tuple[float, float],
    medians: list[float],
    issued: float,
    now: float,
) -> None:
    chosen = ScalingSettings((PoolLimits("gpu", 2, 60),))
    made = decide(
        Observed(
            now,
            Traffic(tuple(rates), queue, 0.0, latency, age),
            {"gpu": PoolSeen(ready, tuple(loading), capacity, recorded)},
            times,
            outlook=outlook(issued, *medians),
        ),
        chosen,
        watched(40, 24, 600),
    )
    held = min(max(ready + len(loading) if recorded is None else recorded, 2), 60)
    assert 2 <= made.targets["gpu"] <= 60
    if not 0 <= age <= 90 or not any(0 <= rate < 1e12 for rate in rates[-4:]):
        assert made.targets["gpu"] == held
    if ready == 0 and loading:
        assert made.targets["gpu"] >= held
