"""Policies on traffic that is made for the purpose, and the score of what they do."""

from collections.abc import Callable
from dataclasses import replace
from math import sin

import numpy as np
import pytest

from springtide.forecast.naive import LastValue
from springtide.scaling.outlook import Outlook
from springtide.scaling.settings import PoolLimits, ScalingSettings
from springtide.simulation.peers import DynamoPlanner, HorizontalPodAutoscaler, KnativePodAutoscaler, Static
from springtide.simulation.run import Course, Policy, Scenario, run
from springtide.simulation.score import Score, Timeline, clairvoyant_course, hindsight, reference, score
from springtide.simulation.springtide import Springtide

SETTINGS = ScalingSettings((PoolLimits("gpu", 1, 80),))
HOURS = 10
Distort = Callable[[Outlook, float], Outlook | None]


def scenario(rates: list[float], warmup: int = 7200, seed: int = 1) -> Scenario:
    """Return a scenario with those mean rates by minute."""
    arrivals = np.random.default_rng(seed).poisson(np.repeat(rates, 60))
    return Scenario(arrivals, 2.0, 1, 80, 180.0, 5.0, 0.99, warmup, seed)


WAVE = scenario([40 + 20 * sin(minute / 60) for minute in range(60 * HOURS)])


def scored(done: Course, of: Scenario = WAVE, cost: float = 1.0) -> tuple[Score, Timeline]:
    return score(of, done, reference(of), cost)


def course(policy: Policy, of: Scenario = WAVE) -> Course:
    ticks = iter(range(10**9))
    return run(of, policy, lambda: next(ticks) / 1000)


@pytest.mark.parametrize(
    "policy",
    [
        Springtide(SETTINGS, None),
        Springtide(SETTINGS, LastValue()),
        HorizontalPodAutoscaler(),
        KnativePodAutoscaler(),
        DynamoPlanner(5.0),
    ],
)
def test_a_slow_wave_is_served(policy: Policy) -> None:
    result, _ = scored(course(policy))
    assert result.attainment > 0.9
    assert 1 < result.ratio < 1.8
    assert result.peak_replicas <= 80
    assert result.decision_cpu_milliseconds_p99 == pytest.approx(1.0)


def test_ours_removes_nothing_that_loads() -> None:
    result, _ = scored(course(Springtide(SETTINGS, LastValue())))
    assert result.removed_while_loading == 0


def test_the_clairvoyant_is_its_own_measure() -> None:
    result, timeline = scored(clairvoyant_course(WAVE, reference(WAVE)[1]))
    assert result.ratio == pytest.approx(1.0)
    assert result.attainment >= 0.99
    assert (timeline.ready <= timeline.created).all()


def test_static_is_the_least_that_would_have_done() -> None:
    count = hindsight(WAVE)
    assert scored(course(Static(count)))[0].attainment >= 0.99
    fewer = replace(WAVE, least=count - 1)
    assert scored(course(Static(count - 1), fewer), fewer)[0].attainment < 0.99


def test_the_timeline_tells_everything() -> None:
    done = course(HorizontalPodAutoscaler())
    result, timeline = scored(done, cost=2.5)
    assert timeline.t_s[0] == 7200
    assert len(timeline.t_s) == (HOURS - 2) * 360
    assert timeline.arrivals.sum() == WAVE.arrivals[7200:].sum() == result.requests
    assert result.attainment == 1 - timeline.late.sum() / timeline.arrivals.sum()
    assert result.gpu_hours == pytest.approx(timeline.created.sum() * 10 / 3600)
    assert result.cost == pytest.approx(2.5 * result.gpu_hours)
    assert (timeline.late <= timeline.arrivals).all()
    assert result.actions >= np.abs(np.diff(timeline.target)).sum()


def test_the_same_seed_gives_the_same_course() -> None:
    one, other = (scored(course(Springtide(SETTINGS, LastValue())))[1] for _ in range(2))
    assert all((getattr(one, name) == getattr(other, name)).all() for name in ("created", "ready", "target", "late"))


# A step by two: the first replicas that can help come a cold start later, and what is late is bounded.


def test_a_step_is_followed() -> None:
    step = scenario([30.0] * 300 + [60.0] * 120, warmup=14400)
    for policy in (Springtide(SETTINGS, None), Springtide(SETTINGS, LastValue())):
        done = course(policy, step)
        began = 300 * 12
        assert done.target[began - 1] < 26
        assert done.target[began + 18] >= 30  # a minute and a half, of which 30 s are a scrape and its lag
        assert done.target.max() < 80
        served = np.flatnonzero(done.ready[began:] >= 30)[0] * 5
        assert served < 90 + 2 * 270


# Faults of the forecast: it costs only its benefit.


def faulty(change: Distort) -> Springtide:
    return Springtide(SETTINGS, LastValue(), distort=change)


def scaled(factor: float) -> Distort:
    return lambda outlook, now: Outlook(
        outlook.issued, outlook.levels, tuple(tuple(rate * factor for rate in row) for row in outlook.rates)
    )


@pytest.mark.parametrize(
    "change",
    [
        scaled(float("nan")),
        scaled(10.0),
        scaled(0.0),
        lambda outlook, now: replace(outlook, issued=outlook.issued - 1800),
        lambda outlook, now: None,
    ],
    ids=["nan", "ten times", "zero", "old", "none"],
)
def test_a_bad_forecast_is_no_worse_than_none(change: Distort) -> None:
    alone, _ = scored(course(Springtide(SETTINGS, None)))
    result, _ = scored(course(faulty(change)))
    assert result.attainment >= alone.attainment - 0.001
    assert result.gpu_hours <= 1.5 * alone.gpu_hours


def test_a_forecast_that_is_slightly_high_costs_bounded_money() -> None:
    alone, _ = scored(course(Springtide(SETTINGS, None)))
    result, _ = scored(course(faulty(scaled(1.9))))
    assert result.gpu_hours <= 1.5 * alone.gpu_hours


@pytest.mark.parametrize("begin", [20.0, 40.0])
def test_the_first_hour_of_a_service_is_no_worse_than_with_hpa(begin: float) -> None:
    hour = scenario([begin + minute / 4 for minute in range(60)], warmup=0)
    ours, _ = scored(course(Springtide(SETTINGS, LastValue()), hour), hour)
    theirs, _ = scored(course(HorizontalPodAutoscaler(), hour), hour)
    assert ours.attainment >= theirs.attainment - 0.001
    assert ours.gpu_hours < theirs.gpu_hours
