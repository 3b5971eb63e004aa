"""Training: torch and numpy agree, learning helps, and what is worse is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from springtide.forecast.checkpoint import Checkpoint, dump_checkpoint, load_checkpoint, pretrained
from springtide.forecast.dataset import Rows, rows_of
from springtide.forecast.features import LINEAR
from springtide.forecast.gate import Verdict, network_loss, promote, ridge_loss
from springtide.forecast.horizon import DAY, STEPS
from springtide.forecast.network import run_network
from springtide.forecast.synthetic import synthetic
from tests.unit.forecast.services import waves
from tests.unit.forecast.test_members import random_features, random_network

torch = pytest.importorskip("torch", reason="training needs the extra 'train'")

from springtide.forecast.train import Model, Plan, invented, refit, train  # noqa: E402 - after torch is known to be there

SHORT = Plan(steps=60, rows=3000)


@pytest.fixture(scope="module")
def rows() -> Rows:
    return rows_of(waves(3), np.arange(DAY, 3 * DAY, 3))


@pytest.mark.parametrize("size", [0.05, 0.5, 3.0])
def test_numpy_is_torch(size: float) -> None:
    network = random_network(4, size)
    seen = random_features(3, rows=40)
    with torch.no_grad():
        made = Model.of(network)(torch.from_numpy(seen.patches), torch.from_numpy(seen.context)).numpy()
    same = (run_network(network, seen) - seen.last[:, None, None]) / seen.scale[:, None, None]
    np.testing.assert_allclose(made, same, rtol=1e-3, atol=1e-3)


def test_weights_come_back_from_torch() -> None:
    network = random_network(4, 0.5)
    back = Model.of(network).network()
    for one in dataclasses.fields(network):
        assert (getattr(back, one.name) == getattr(network, one.name)).all(), one.name


def test_it_is_small() -> None:
    sizes = [getattr(pretrained().network, one.name).size for one in dataclasses.fields(pretrained().network)]
    assert sum(sizes) < 100_000
    assert len(dump_checkpoint(pretrained())) < 300_000


def test_training_learns_and_is_repeatable(rows: Rows) -> None:
    untrained = train([rows], dataclasses.replace(SHORT, steps=1, rate=1e-9))
    once, again = train([rows], SHORT), train([rows], SHORT)
    assert network_loss(once.network, [rows]) < 0.8 * network_loss(untrained.network, [rows])
    assert dump_checkpoint(once) == dump_checkpoint(again)
    assert dump_checkpoint(load_checkpoint(dump_checkpoint(once))) == dump_checkpoint(once)


def test_the_pretrained_one_beats_the_last_value_on_a_service_it_never_saw() -> None:
    rows = rows_of(waves(4, seed=11), np.arange(3 * DAY, 4 * DAY, 7))
    still = Checkpoint(pretrained().network, np.eye(LINEAR), np.zeros((LINEAR, STEPS)))
    assert ridge_loss(pretrained(), [rows]) < 0.9 * ridge_loss(still, [rows])


def test_a_worse_model_is_refused(rows: Rows) -> None:
    present = pretrained()
    shifted = dataclasses.replace(present.network, output_bias=present.network.output_bias + np.float32(0.5))
    worse = Checkpoint(shifted, present.gram, -present.cross)
    chosen, verdicts = promote(present, worse, [rows])
    assert not any(verdict.promoted for verdict in verdicts)
    assert chosen is present
    assert str(verdicts[0]).startswith("network: refused, loss")
    back, verdicts = promote(worse, present, [rows])
    assert all(verdict.promoted for verdict in verdicts)
    assert dump_checkpoint(back) == dump_checkpoint(present)
    assert promote(present, present, [rows])[0] is present, "as good is not better"


def test_a_model_that_says_nan_is_refused(rows: Rows) -> None:
    present = pretrained()
    broken = dataclasses.replace(
        present, network=dataclasses.replace(present.network, skip=np.full(STEPS, np.nan, np.float32))
    )
    assert promote(present, broken, [rows])[0] is present
    assert not Verdict("network", 1.0, float("nan")).promoted


def test_each_part_is_judged_by_itself(rows: Rows) -> None:
    present = pretrained()
    mixed = dataclasses.replace(present, cross=-present.cross)
    other = dataclasses.replace(present.network, output_bias=present.network.output_bias + np.float32(0.5))
    chosen, verdicts = promote(mixed, dataclasses.replace(present, network=other), [rows])
    assert [verdict.promoted for verdict in verdicts] == [False, True]
    assert chosen.network is mixed.network
    assert (chosen.cross == present.cross).all()


def test_a_refit_never_makes_it_worse() -> None:
    series = [waves(3, seed=seed) for seed in (1, 2)]
    present = pretrained()
    chosen, verdicts = refit(present, series, dataclasses.replace(SHORT, rate=1e-3))
    assert [verdict.part for verdict in verdicts] == ["network", "ridge"]
    held_out = [rows_of(rates, np.arange(2 * DAY, 3 * DAY, 5)) for rates in series]
    assert network_loss(chosen.network, held_out) <= network_loss(present.network, held_out)
    assert ridge_loss(chosen, held_out) <= ridge_loss(present, held_out)


def test_too_little_history_changes_nothing() -> None:
    assert refit(pretrained(), [waves(1)], SHORT)[1] == []
    assert refit(pretrained(), [], SHORT)[1] == []
    assert refit(pretrained(), [np.full(3 * DAY, np.nan)], SHORT)[1] == []


def test_made_up_services_are_demand() -> None:
    random = np.random.default_rng(5)
    made = [synthetic(2, random) for _ in range(20)]
    assert all(len(rates) == 2 * DAY for rates in made)
    assert all(np.nanmin(rates) >= 0 and np.nanmax(rates) < 1e5 for rates in made)
    assert any(np.isnan(rates).any() for rates in made)
    assert (synthetic(2, np.random.default_rng(1)) == synthetic(2, np.random.default_rng(1))).all()
    rows = invented(2, 3, 100, random)
    assert all(np.isfinite(part.following).all() and np.isfinite(part.weight).all() for part in rows)
