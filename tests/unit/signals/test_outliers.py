"""Which value of a pod is not believed, and what it counts as."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.signals.outliers import BLIND_TIMES, TIMES, Trimmed, _peers, trim


@pytest.mark.parametrize(
    ("values", "voters", "typical", "counted"),
    [
        # one of several lies: it counts as a replica at its capacity
        ([5, 4, 6, 5000], "abcd", 8.0, [5, 4, 6, 8]),
        # or as its peers, where they do more
        ([50, 40, 60, 50000], "abcd", 8.0, [50, 40, 60, 50]),
        # nobody to compare with: as ten replicas
        ([5000], "a", 8.0, [80]),
        ([5, 5000], "ab", 8.0, [5, 80]),
        ([5, 4, 5000], "c", 8.0, [5, 4, 80]),
        # two at once are no single liar
        ([5, 4, 6, 5000, 5000], "abcde", 8.0, [5, 4, 6, 80, 80]),
        # more than a replica can do, and its peers too
        ([50, 40, 60, 300], "abcd", 8.0, [50, 40, 60, 300]),
        # all are flooded: true
        ([500, 400, 600], "abc", 8.0, [500, 400, 600]),
        # one busy pod among idle ones, within what a replica can do: clients are pinned to it
        ([8, 0, 0], "abc", 8.0, [8, 0, 0]),
        # nobody knows what a replica can do
        ([500, 0, 0], "abc", None, [500, 0, 0]),
        ([500, 30, 30], "abc", None, [500, 30, 30]),
        ([5000], "a", None, [5000]),
        ([5, 5000], "ab", None, [5, 5000]),
        ([5, 4, 5000], "abc", None, None),
        # pods that are new have no vote
        ([500, 1, 1], "a", None, [500, 1, 1]),
        ([], "", 8.0, []),
    ],
)
def test_rules(values: list[float], voters: str, typical: float | None, counted: list[float] | None) -> None:
    told = dict(zip("abcde", values, strict=False))
    trimmed = trim(told, set(voters), typical)
    if counted is None:
        assert trimmed is None
        return
    assert trimmed is not None
    assert list(trimmed.values.values()) == counted
    assert trimmed.outliers == tuple(pod for pod in told if trimmed.values[pod] != told[pod])


@given(
    honest=st.lists(st.floats(0.5, 8.0), min_size=3, max_size=30),
    liar=st.integers(0, 29),
    typical=st.one_of(st.none(), st.just(8.0)),
)
def test_a_lie_by_a_thousand_costs_at_most_ten_replicas(honest: list[float], liar: int, typical: float | None) -> None:
    told = {str(pod): value for pod, value in enumerate(honest)}
    told[str(liar % len(honest))] *= 1000.0
    trimmed = trim(told, told.keys(), typical)
    if typical is None:
        # 500 or more, beside peers that say 8 at most: in doubt, unless the peers' median is too near
        believed = trimmed is not None
        others = [value for pod, value in told.items() if pod != str(liar % len(honest))]
        assert believed == (told[str(liar % len(honest))] <= BLIND_TIMES * statistics.median_low(others))
    else:
        assert trimmed is not None
        assert sum(trimmed.values.values()) <= sum(honest) + TIMES * typical


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0.0, 8.0)))
def test_the_truth_stays(told: dict[str, float]) -> None:
    assert trim(told, told.keys(), 8.0) == Trimmed(told)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(0, 8))
def test_the_median_of_the_others(votes: list[float], own: int) -> None:
    mine = votes[own % len(votes)]
    others = sorted(votes)
    others.remove(mine)
    assert _peers(sorted(votes), mine) == (statistics.median_low(others) if len(others) >= 2 else None)
    assert _peers(sorted(votes), None) == (statistics.median_low(votes) if len(votes) >= 2 else None)
