"""The forecaster as its caller sees it: any history, any order, any restart."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.forecast.archive import BadArchive, pack, unpack
from springtide.forecast.checkpoint import Checkpoint, dump_checkpoint, load_checkpoint, pretrained
from springtide.forecast.ensemble import MEMBERS, Ensemble
from springtide.forecast.horizon import DAY, LEVELS, STEPS, Array
from tests.unit.forecast.services import observed, waves

RATES = st.one_of(st.floats(0, 1e6), st.just(0.0), st.just(math.nan))


@pytest.fixture(scope="module")
def seasoned() -> bytes:
    """Return the state after a day and a half of a clean daily wave."""
    return observed(Ensemble(), waves(1.5)).save()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(RATES, RATES), min_size=1, max_size=50))
def test_forecasts_of_anything_are_ascending_and_sane(history: list[tuple[float, float]]) -> None:
    forecaster = Ensemble()
    for minute, (one, other) in enumerate(history):
        forecaster.observe(minute, {"one": one, "other": other})
    for made in forecaster.predict().values():
        assert made.shape == (STEPS, len(LEVELS))
        assert np.isfinite(made).all()
        assert (made >= 0).all()
        assert (np.diff(made, axis=1) >= 0).all()


def test_the_order_of_services_does_not_matter() -> None:
    series = {f"s{number}": waves(0.1, mean=3.0**number, seed=number) for number in range(5)}
    here, there = Ensemble(), Ensemble()
    for minute in range(144):
        now = {name: float(rates[minute]) for name, rates in series.items()}
        here.observe(minute, now)
        there.observe(minute, dict(reversed(now.items())))
    one, other = here.predict(), there.predict()
    assert set(one) == set(other) == set(series)
    for name, made in one.items():
        np.testing.assert_allclose(made, other[name], rtol=1e-3)


def test_other_services_change_nothing() -> None:
    alone, crowd = Ensemble(), Ensemble()
    for minute, rate in enumerate(waves(0.1)):
        alone.observe(minute, {"chat": float(rate)})
        crowd.observe(minute, {"wild": math.nan if minute % 3 else 1e9, "chat": float(rate)})
    np.testing.assert_allclose(alone.predict()["chat"], crowd.predict()["chat"], rtol=1e-3)


def test_a_restart_changes_nothing(seasoned: bytes) -> None:
    on, restarted = Ensemble.restore(seasoned), Ensemble.restore(seasoned)
    for minute, rate in enumerate(waves(0.03, first=2160, seed=2), 2160):
        on.observe(minute, {"chat": float(rate)})
        restarted.observe(minute, {"chat": float(rate)})
        restarted = Ensemble.restore(restarted.save())
    assert restarted.minute == on.minute
    assert (on.predict()["chat"] == restarted.predict()["chat"]).all()
    assert on.save() == restarted.save()


def test_a_damaged_state_is_refused(seasoned: bytes) -> None:
    for damaged in (b"", b"{}", seasoned[: len(seasoned) // 2], _flipped(seasoned)):
        with pytest.raises(BadArchive):
            Ensemble.restore(damaged)
    with pytest.raises(BadArchive, match="not a forecaster state"):
        Ensemble.restore(dump_checkpoint(pretrained()))
    arrays = unpack("forecaster state", 1, seasoned)
    with pytest.raises(BadArchive, match="version 2; this version of Springtide reads version 1"):
        Ensemble.restore(pack("forecaster state", 2, arrays))
    with pytest.raises(BadArchive, match="whose factor is"):
        Ensemble.restore(pack("forecaster state", 1, arrays | {"row/factor": np.zeros(3)}))
    with pytest.raises(BadArchive, match="without 'minute'"):
        Ensemble.restore(pack("forecaster state", 1, {name: of for name, of in arrays.items() if name != "minute"}))


def test_a_damaged_checkpoint_is_refused() -> None:
    data = dump_checkpoint(pretrained())
    assert dump_checkpoint(load_checkpoint(data)) == data
    for damaged in (b"", b"PK", data[:-40], _flipped(data)):
        with pytest.raises(BadArchive):
            load_checkpoint(damaged)
    poisoned = dataclasses.replace(pretrained(), gram=np.full_like(pretrained().gram, np.nan))
    with pytest.raises(BadArchive, match="gram holds NaN"):
        load_checkpoint(dump_checkpoint(poisoned))
    smaller = dataclasses.replace(pretrained(), cross=pretrained().cross[:, :3])
    with pytest.raises(BadArchive, match="cross is"):
        load_checkpoint(dump_checkpoint(smaller))


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]


def test_the_ladder_of_history() -> None:
    forecaster = Ensemble()
    rates = waves(1.1)
    used = []
    for minute, rate in enumerate(rates):
        forecaster.observe(minute, {"chat": float(rate)})
        made = forecaster.weights("chat")
        used.append({name for name, weight in made.items() if weight.any()})
    assert all(names == {"last-value"} for names in used[:29])
    assert all(names <= {"last-value", "holt"} for names in used[: DAY - 1])
    assert "holt" in used[29]
    assert {"lstm", "ridge"} & used[DAY]


def test_a_new_service_gets_wide_bands_around_its_last_value() -> None:
    made = observed(Ensemble(), [10.0]).predict()["chat"]
    assert made[:, 0] == pytest.approx(np.full(STEPS, 10.0), rel=1e-3)
    assert (made[:, 2] > 12).all()
    assert (np.diff(made[:, 3]) > 0).all()
    assert (made <= 50).all()


def test_a_daily_wave_is_foreseen(seasoned: bytes) -> None:
    forecaster = Ensemble.restore(seasoned)
    rates = waves(0.2, first=2160, seed=2)
    said, last, truth = [], [], []
    for minute, rate in enumerate(rates[:-STEPS], 2160):
        forecaster.observe(minute, {"chat": float(rate)})
        said.append(forecaster.predict()["chat"][-1, 0])
        last.append(rate)
        truth.append(rates[minute - 2160 + STEPS])
    errors = [np.abs(np.array(one) - truth).mean() for one in (said, last)]
    assert errors[0] < 0.75 * errors[1]


def test_unknown_minutes_are_bridged_and_silence_is_not(seasoned: bytes) -> None:
    forecaster = Ensemble.restore(seasoned)
    before = forecaster.predict()["chat"]
    for minute in range(2160, 2165):
        forecaster.observe(minute, {"chat": math.nan})
    bridged = forecaster.predict()["chat"]
    assert bridged[0, 0] == pytest.approx(before[0, 0], rel=0.15)
    for minute in range(2165, 2190):
        forecaster.observe(minute, {} if minute % 2 else {"chat": math.nan})
    assert "chat" not in forecaster.predict()
    observed(forecaster, [12.0] * 3, first=2190)
    assert forecaster.predict()["chat"][0, 0] == pytest.approx(12, rel=0.3)


def test_skipped_minutes_are_unknown_minutes(seasoned: bytes) -> None:
    skipping, told = Ensemble.restore(seasoned), Ensemble.restore(seasoned)
    skipping.observe(2170, {"chat": 9.0})
    for minute in range(2160, 2170):
        told.observe(minute, {})
    told.observe(2170, {"chat": 9.0})
    np.testing.assert_allclose(skipping.predict()["chat"], told.predict()["chat"], rtol=0.1)


def test_a_jump_of_the_clock_forgets_the_past_and_goes_on(seasoned: bytes) -> None:
    forecaster = Ensemble.restore(seasoned)
    forecaster.observe(10_000_000, {"chat": 5.0})
    made = forecaster.predict()["chat"]
    assert made[:, 0] == pytest.approx(np.full(STEPS, 5.0), rel=0.3)


def test_an_outage_is_followed_and_left(seasoned: bytes) -> None:
    forecaster = Ensemble.restore(seasoned)
    observed(forecaster, [0.0] * 90, first=2160)
    assert forecaster.predict()["chat"][:, 0] == pytest.approx(np.zeros(STEPS), abs=0.5)
    observed(forecaster, waves(0.02, first=2250), first=2250)
    rate = waves(0.02, first=2250)[-1]
    made = forecaster.predict()["chat"]
    assert made[:, 0] == pytest.approx(np.full(STEPS, rate), rel=0.35)


def test_a_jump_of_the_level_is_followed_at_once(seasoned: bytes) -> None:
    forecaster = Ensemble.restore(seasoned)
    rates = 4 * waves(0.02, first=2160)
    observed(forecaster, rates[:3], first=2160)
    assert forecaster.predict()["chat"][0, 0] == pytest.approx(rates[2], rel=0.35)
    observed(forecaster, rates[3:], first=2163)
    assert forecaster.predict()["chat"][:, 0] == pytest.approx(np.full(STEPS, rates[-1]), rel=0.3)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bias", [30.0, math.nan, -30.0])
def test_a_mad_network_costs_little(bias: float, seasoned: bytes) -> None:
    network = dataclasses.replace(pretrained().network, output_bias=np.full(STEPS * len(LEVELS), bias, np.float32))
    mad = Checkpoint(network, pretrained().gram, pretrained().cross)
    forecaster, sane = Ensemble.restore(seasoned, mad), Ensemble.restore(seasoned)
    rates = waves(0.1, first=2160)
    observed(forecaster, rates, first=2160)
    observed(sane, rates, first=2160)
    assert not forecaster.weights("chat")["lstm"].any()
    np.testing.assert_allclose(forecaster.predict()["chat"][:, 0], sane.predict()["chat"][:, 0], rtol=0.1)


def test_only_the_members_asked_for_count() -> None:
    rates = waves(0.1)
    forecaster = observed(Ensemble(members=("last-value",)), rates)
    assert {name for name, weight in forecaster.weights("chat").items() if weight.any()} == {"last-value"}
    assert forecaster.explain("chat")["last-value"][:, 0] == pytest.approx(np.full(STEPS, rates[-1]), rel=1e-4)
    with pytest.raises(ValueError, match="not prophet"):
        Ensemble(members=("prophet",))
    with pytest.raises(ValueError, match="not none"):
        Ensemble(members=())


@pytest.mark.parametrize("value", [-1.0, math.inf])
def test_impossible_demand_is_refused_and_changes_nothing(value: float) -> None:
    forecaster = observed(Ensemble(), [1.0, 2.0])
    before = forecaster.save()
    with pytest.raises(ValueError, match="the demand of new is"):
        forecaster.observe(2, {"chat": 1.0, "new": value})
    with pytest.raises(ValueError, match="minute 1 was observed before, the newest is 1"):
        forecaster.observe(1, {"chat": 1.0})
    assert forecaster.save() == before


def test_the_past_can_be_recalled() -> None:
    rates = waves(1.2)
    told = Ensemble()
    told.recall(0, {"chat": rates[:-1].tolist(), "young": rates[-50:-1].tolist()})
    assert told.predict() == {}
    told.observe(len(rates) - 1, {"chat": float(rates[-1])})
    grown = observed(Ensemble(), rates)
    said, known = told.explain("chat"), grown.explain("chat")
    assert said["daily-shape"][:, 0] == pytest.approx(known["daily-shape"][:, 0], rel=1e-3)
    assert said["holt"][:, 0] == pytest.approx(known["holt"][:, 0], rel=0.1)
    assert told.weights("chat")["lstm"].any()


def test_services_that_are_gone_are_forgotten() -> None:
    forecaster = Ensemble()
    for minute in range(5):
        forecaster.observe(minute, {"a": 1.0, "b": 2.0, "c": 3.0})
    before = forecaster.predict()
    forecaster.keep({"c", "a", "unheard-of"})
    assert list(forecaster.services) == ["a", "c"]
    after = forecaster.predict()
    assert (after["c"] == before["c"]).all()
    forecaster.observe(5, {"c": 3.0, "b": 1.0})
    assert list(forecaster.services) == ["a", "c", "b"]
    assert forecaster.explain("nobody") == {}


def test_nothing_observed_gives_no_forecast() -> None:
    assert Ensemble().predict() == {}
    empty = Ensemble()
    empty.observe(7, {})
    assert empty.predict() == {}
    assert Ensemble.restore(empty.save()).minute == 7


def test_every_member_speaks_after_a_day(seasoned: bytes) -> None:
    forecaster = Ensemble.restore(seasoned)
    observed(forecaster, [10.0], first=2160)
    made: dict[str, Array] = forecaster.explain("chat")
    assert set(made) == {*MEMBERS, "ensemble"}
