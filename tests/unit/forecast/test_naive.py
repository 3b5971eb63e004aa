"""The last value with its own errors as quantiles."""

from math import exp, nan

import numpy as np
import pytest

from springtide.forecast.horizon import DAY, LEVELS, STEPS
from springtide.forecast.naive import LastValue


def test_half_an_hour_is_needed_first() -> None:
    forecaster = LastValue()
    for minute in range(44):
        forecaster.observe(minute, {"chat": 10.0})
    assert not forecaster.predict()
    for minute in range(44, 60):
        forecaster.observe(minute, {"chat": 10.0})
    assert forecaster.predict()["chat"].shape == (STEPS, len(LEVELS))
    assert forecaster.predict()["chat"] == pytest.approx(10.0)


def test_the_quantiles_cover_what_they_say() -> None:
    random = np.random.default_rng(1)
    forecaster = LastValue()
    log, hits, asked = 0.0, np.zeros((STEPS, len(LEVELS))), 0
    waiting: list[tuple[int, np.ndarray]] = []
    for minute in range(3 * DAY):
        log = 0.98 * log + 0.05 * random.standard_normal()
        rate = 20 * exp(log)
        forecaster.observe(minute, {"chat": rate})
        for issued, rates in waiting:
            hits[minute - issued - 1] += rate <= rates[minute - issued - 1]
        waiting = [one for one in waiting if minute - one[0] < STEPS]
        if minute >= DAY and minute < 3 * DAY - STEPS:
            waiting.append((minute, forecaster.predict()["chat"]))
            asked += 1
    assert hits / asked == pytest.approx(np.broadcast_to(LEVELS, hits.shape), abs=0.03)


def test_quantiles_ascend_and_widen() -> None:
    random = np.random.default_rng(2)
    forecaster = LastValue()
    rate = 20.0
    for minute in range(600):
        rate *= exp(0.05 * random.standard_normal())
        forecaster.observe(minute, {"chat": rate})
    made = forecaster.predict()["chat"]
    assert (np.diff(made, axis=1) >= 0).all()
    assert made[-1, -1] > made[0, -1]


def test_what_is_unknown_is_not_forecast_and_teaches_nothing() -> None:
    forecaster = LastValue()
    for minute in range(100):
        forecaster.observe(minute, {"chat": 10.0, "other": nan})
    forecaster.observe(100, {"chat": nan})
    assert not forecaster.predict()
    forecaster.observe(130, {"chat": 10.0})
    assert forecaster.predict()["chat"] == pytest.approx(10.0)
    before = forecaster.predict()["chat"]
    forecaster.observe(130, {"chat": 99.0})
    assert (forecaster.predict()["chat"] == before).all()


def test_nothing_is_below_0() -> None:
    forecaster = LastValue()
    for minute in range(200):
        forecaster.observe(minute, {"chat": float(minute % 7 == 0)})
    made = forecaster.predict()["chat"]
    assert (made >= 0).all()
