"""The formula of who knows what will come."""

import numpy as np
import pytest

from springtide.simulation import clairvoyant


def test_the_formula() -> None:
    # 30 s means: 1, 1, 1, 1, 5, 1, 1, 1 requests a second.
    arrivals = np.repeat([1, 1, 1, 1, 5, 1, 1, 1], 30)
    replicas = clairvoyant.wanted(arrivals, 60.0, 2.0, 0.8)
    # The peak counts from 90 s before its end: [t, t + 60 + 30].
    assert replicas.tolist() == [1, 1, 4, 4, 4, 1, 1, 1]
    assert clairvoyant.ready(replicas, 60.0, 240).reshape(-1, 30)[:, 0].tolist() == [1, 1, 1, 1, 4, 1, 1, 1]
    assert clairvoyant.gpu_hours(replicas, 240) == pytest.approx(17 * 30 / 3600)


def test_there_is_one_at_least() -> None:
    assert clairvoyant.wanted(np.zeros(300, dtype=np.int64), 180.0, 2.0, 1.0).tolist() == [1] * 10


def test_the_best_use_meets_the_attainment_and_no_more() -> None:
    random = np.random.default_rng(3)
    seconds = np.arange(6 * 3600)
    arrivals = random.poisson(40 + 20 * np.sin(seconds / 3000))
    replicas, use = clairvoyant.best(arrivals, 180.0, 2.0, 5.0, 0.8)
    _, strict = clairvoyant.best(arrivals, 180.0, 2.0, 5.0, 0.9999)
    assert strict < use
    assert replicas.tolist() == clairvoyant.wanted(arrivals, 180.0, 2.0, use).tolist()
