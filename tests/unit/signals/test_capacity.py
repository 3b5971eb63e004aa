"""What one replica can do, learned from moments near saturation."""

import math
import random
from dataclasses import replace

import pytest

from springtide.signals.capacity import (
    MEMORY,
    PRIOR_TIMES,
    PRIOR_WEIGHT,
    Capacity,
    begin,
    learn,
    near_saturation,
    renew,
)
from springtide.signals.values import Doubt, Reading, Signals


def moment(each: float, *, replicas: int = 4, queue: float = 0.0, kv: float | None = None) -> Signals:
    """A moment in which each replica served so many requests a second."""
    return Signals(
        served=Reading(each * replicas, 4.0),
        output_tokens=Reading(100.0 * each * replicas, 4.0),
        queue=Reading(queue, 4.0),
        kv=None if kv is None else Reading(kv, 4.0),
        ready=replicas,
        seen=replicas,
        settled=replicas,
    )


def saturated(each: float, replicas: int = 4) -> Signals:
    return moment(each, replicas=replicas, queue=10.0 * replicas + each * replicas)


def taught(known: Capacity, *moments: Signals) -> Capacity:
    for one in moments:
        known = learn(known, one)
    return known


@pytest.mark.parametrize(
    ("signals", "near"),
    [
        (moment(1.0), False),
        (moment(1.0, queue=3.0), False),  # less than one for each replica
        (moment(1.0, queue=4.0), True),
        (moment(100.0, queue=40.0), False),  # a tenth of a second: a batch that forms
        (moment(100.0, queue=200.0), True),
        (moment(1.0, kv=0.89), False),
        (moment(1.0, kv=0.9), True),
        (replace(moment(1.0), gpu=Reading(0.95, 4.0)), True),
        (replace(moment(1.0), queue=None), False),
    ],
)
def test_near_saturation(signals: Signals, near: bool) -> None:
    assert near_saturation(signals) is near


def test_an_idle_service_teaches_nothing() -> None:
    known = begin(2.0)
    assert taught(known, *[moment(0.1)] * 1000, *[moment(1.9)] * 1000) == known


def test_it_finds_what_a_replica_can_do() -> None:
    chance = random.Random(1)  # noqa: S311
    known = taught(begin(2.0), *(saturated(5.0 * math.exp(chance.gauss(0.0, 0.2))) for _ in range(400)))
    assert known.estimate == pytest.approx(5.0, rel=0.05)
    assert known.prior == 2.0


def test_a_replica_that_does_more_than_it_should_be_able_to() -> None:
    known = taught(begin(2.0), *[moment(3.0)] * 400)
    assert known.estimate is not None
    assert 2.6 < known.estimate <= 3.0
    assert taught(begin(2.0), *[moment(2.1)] * 400) == begin(2.0), "noise is no evidence"


def test_without_a_prior_the_first_moment_counts() -> None:
    assert begin(None).estimate is None
    known = taught(begin(None), moment(9.0), saturated(3.0))
    assert known == Capacity(3.0, None, 1.0)


def test_odd_moments_move_little() -> None:
    known = taught(begin(5.0), *[saturated(5.0)] * 300)
    for odd in (5000.0, 0.001):
        after = learn(known, saturated(odd))
        assert after.estimate == pytest.approx(5.0, rel=0.004)
    one_in_five = [saturated(5000.0 if at % 5 == 0 else 5.0) for at in range(2000)]
    assert taught(known, *one_in_five).estimate == pytest.approx(5.0, rel=0.15)


def test_never_beyond_ten_times_the_prior() -> None:
    assert taught(begin(5.0), *[saturated(5000.0)] * 9000).estimate == 5.0 * PRIOR_TIMES
    assert taught(begin(5.0), *[saturated(0.001)] * 9000).estimate == 5.0 / PRIOR_TIMES


def test_it_forgets_slowly() -> None:
    known = taught(begin(5.0), *[saturated(5.0)] * 1000)
    assert known.weight == MEMORY
    at_first = taught(known, *[saturated(4.0)] * 10).estimate
    later = taught(known, *[saturated(4.0)] * 1000).estimate
    assert at_first is not None and later is not None
    assert at_first > 4.9
    assert later == pytest.approx(4.0, rel=0.02)
    assert taught(known, *[moment(0.5)] * 100_000) == known, "time alone makes nothing forgotten"


@pytest.mark.parametrize(
    "wrong",
    [
        replace(saturated(9.0), doubts=(Doubt("Outlier", "one pod"),)),
        replace(saturated(9.0), settled=3),
        replace(saturated(9.0), served=None),
        replace(saturated(9.0), served=Reading(0.0, 4.0)),
        replace(saturated(9.0), ready=0, seen=0, settled=0),
    ],
)
def test_nothing_is_learned_from(wrong: Signals) -> None:
    assert learn(begin(5.0), wrong) == begin(5.0)


def test_another_prior_or_revision() -> None:
    known = taught(begin(2.0), *[saturated(5.0)] * 400)
    assert renew(known, 2.0, new_revision=False) == known
    assert renew(known, 3.0, new_revision=False) == begin(3.0)
    revised = renew(known, 2.0, new_revision=True)
    assert (revised.estimate, revised.weight) == (known.estimate, PRIOR_WEIGHT)
    assert renew(begin(None), None, new_revision=True) == begin(None)
