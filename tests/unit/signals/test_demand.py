"""The demand of services, from one answer with a row for each pod."""

import math
from typing import Any

import pytest

from springtide.signals.answers import Sample, Series
from springtide.signals.demand import read_demand, read_past


def row(value: float, pod: str = "a", **labels: str) -> Sample:
    return Sample({"namespace": "team", "service": "chat", "pool": "gpu", "pod": pod} | labels, value, 0.0)


def demand(*rows: Sample) -> Any:
    return pytest.approx(read_demand(rows).get(("team", "chat"), -1.0), nan_ok=True)


def test_pods_and_pools_are_added_up() -> None:
    assert demand(row(1.5), row(2.5, "b"), row(4.0, "c", pool="cpu")) == 8.0
    assert demand() == -1.0


def test_namespaces_are_kept_apart() -> None:
    assert read_demand([row(1.0), row(2.0, namespace="other")]) == {("team", "chat"): 1.0, ("other", "chat"): 2.0}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_a_pod_that_says_nonsense_counts_as_the_others(bad: float) -> None:
    assert demand(row(1.0), row(3.0, "b"), row(bad, "c")) == 6.0
    assert demand(row(1.0), row(bad, "b"), row(bad, "c")) == pytest.approx(math.nan, nan_ok=True)
    assert demand(row(bad)) == pytest.approx(math.nan, nan_ok=True)


def test_of_the_same_row_twice_the_larger_counts() -> None:
    assert demand(row(1.0), row(2.0), row(math.nan)) == 2.0
    assert demand(row(math.nan), row(2.0), row(1.0)) == 2.0


def test_a_lie_makes_a_service_unknown_and_no_other() -> None:
    rows = [row(1.0), row(1.1, "b"), row(0.9, "c"), row(1000.0, "d")]
    assert demand(*rows) == pytest.approx(math.nan, nan_ok=True)
    assert read_demand([*rows, row(5.0, service="other")])["team", "other"] == 5.0


def test_the_past_has_a_place_for_each_minute() -> None:
    at = 60 * 101
    values = ((at, 1.0), (at + 120, 3.0), (at + 180, math.nan), (at + 240, -1.0), (at + 6000, 9.0))
    found = read_past([Series({"namespace": "team", "service": "chat"}, values)], 100, 5)
    assert found["team", "chat"] == pytest.approx([1.0, math.nan, 3.0, math.nan, math.nan], nan_ok=True)
