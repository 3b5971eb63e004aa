"""Traces become minutes; what is no trace is refused with its line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.forecast.series import BadTrace, of_minutes, parse_trace, per_minute


def minutes(text: str) -> list[float]:
    return [float(rate) for rate in per_minute(parse_trace(text))]


def binned(width: int, counts: list[int], first: int = 0) -> str:
    return "t_s,requests\n" + "".join(f"{first + width * row},{count}\n" for row, count in enumerate(counts))


@settings(deadline=None)
@given(st.sampled_from([1, 7, 10, 45, 60, 90, 600]), st.lists(st.integers(0, 1000), min_size=2, max_size=50))
def test_no_request_is_lost_or_made_up(width: int, counts: list[int]) -> None:
    covered = width * len(counts)
    made = minutes(binned(width, counts))
    whole = covered // 60
    by_hand = [
        sum(
            count * max(0, min(60 * (minute + 1), width * (row + 1)) - max(60 * minute, width * row)) / width
            for row, count in enumerate(counts)
        )
        / 60
        for minute in range(whole)
    ]
    assert made[:whole] == pytest.approx(by_hand, abs=1e-6)
    assert len(made) <= whole + 1


def test_bins_of_ten_seconds() -> None:
    assert minutes(binned(10, [1] * 6 + [2] * 6)) == pytest.approx([0.1, 0.2])


def test_a_long_bin_is_spread_evenly() -> None:
    assert minutes(binned(600, [600, 1200])) == pytest.approx([1.0] * 10 + [2.0] * 10)


def test_missing_rows_are_unknown_minutes() -> None:
    made = minutes("t_s,requests\n0,60\n60,60\n240,120\n300,120\n")
    assert made == pytest.approx([1, 1, np.nan, np.nan, 2, 2], nan_ok=True)


def test_a_row_for_each_request() -> None:
    made = minutes("t_s,in_tokens,out_tokens\n0.5,374,44\n10,1,1\n59.9,1,1\n61,2,2\n200,5,5\n")
    assert made == pytest.approx([3 / 60, 1 / 60, 0])


def test_further_columns_and_blank_lines_are_left_alone() -> None:
    assert minutes("t_s,active,requests\n0,9,60\n\n60,9,120\n") == pytest.approx([1, 2])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", 1, "must name the columns"),
        ("time,requests\n0,1\n", 1, "must name the columns"),
        ("t_s,bytes\n0,1\n", 1, "must name the columns"),
        ("t_s,requests\n0,1\n60,many\n", 3, "expected numbers"),
        ("t_s,requests\n0,1\n60\n", 3, "expected numbers"),
        ("t_s,requests\n0,1\n60,-1\n", 3, "0 or more"),
        ("t_s,requests\n0,1\n60,nan\n", 3, "0 or more"),
        ("t_s,requests\n0,1\ninf,1\n", 3, "finite"),
        ("t_s,requests\n60,1\n0,1\n", 3, "sort the file"),
        ("t_s,requests\n60,1\n60,1\n", 3, "must rise"),
        ("t_s,requests\n0,1\n", 2, "two rows"),
        ("t_s,requests\n0,1\n1716000000000,1\n", 3, "longer than a year"),
    ],
)
def test_what_is_no_trace_is_refused(text: str, line: int, words: str) -> None:
    with pytest.raises(BadTrace, match=words) as caught:
        parse_trace(text)
    assert caught.value.line == line


def test_rates_of_minutes_are_rows() -> None:
    # Known every second minute only: a row is a minute all the same.
    rates = np.array([np.nan, 1.5, np.nan, 2, np.nan, 3])
    rows = of_minutes(1000, rates)
    assert rows.times.tolist() == [60060, 60180, 60300]
    assert rows.counts is not None
    assert rows.counts.tolist() == [90, 120, 180]
    np.testing.assert_allclose(per_minute(rows), rates[1:])
