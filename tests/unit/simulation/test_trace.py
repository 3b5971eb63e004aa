"""Recorded traffic as arrivals."""

import numpy as np
import pytest

from springtide.forecast.series import BadTrace, parse_trace
from springtide.simulation.trace import arrivals, binned


def read(text: str) -> tuple[float, int, list[int]]:
    trace = binned(parse_trace(text))
    return trace.start, trace.seconds, trace.counts.tolist()


def test_bins_of_any_length() -> None:
    assert read("t_s,requests\n0,5\n600,7\n1200,0\n") == (0, 600, [5, 7, 0])
    assert read("t_s,more,requests\n100,x,5\n110,y,7\n") == (100, 10, [5, 7])


def test_bins_that_are_left_out_are_empty() -> None:
    assert read("t_s,requests\n0,5\n10,6\n20,1\n50,7\n") == (0, 10, [5, 6, 1, 0, 0, 7])


def test_counts_that_are_not_whole_add_up_to_the_same() -> None:
    assert read("t_s,requests\n0,0.4\n60,0.4\n120,0.4\n180,1.2\n240,2.4\n")[2] == [0, 1, 0, 1, 3]


def test_a_row_for_each_request() -> None:
    text = "t_s,in_tokens,out_tokens\n100.2,374,44\n104.315,396,109\n104.542,879,55\n"
    assert read(text) == (100, 1, [1, 0, 0, 0, 2])


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("t_s,requests\n0,1\n0.5,1\n", 2, "bins must be whole seconds long, not 0.5"),
        ("t_s,requests\n0,1\n10,1\n20,1\n33,1\n", 5, "t_s 33 is not where a bin of 10 s begins"),
        ("t_s,in_tokens,out_tokens\n0,1,1\n1e9,1,1\n", 3, "longer than a year"),
    ],
)
def test_what_is_no_series_of_bins_is_named(text: str, line: int, words: str) -> None:
    with pytest.raises(BadTrace, match=words) as raised:
        read(text)
    assert raised.value.line == line


def test_each_bin_has_the_arrivals_that_were_recorded() -> None:
    trace = binned(parse_trace("t_s,requests\n0,5000\n60,0\n120,90000\n"))
    made = arrivals(trace, 1)
    assert made.reshape(-1, 60).sum(axis=1).tolist() == [5000, 0, 90000]
    # Poisson within the bin: the variance of a second's count is about its mean.
    assert 0.6 < np.var(made[120:]) / np.mean(made[120:]) < 1.6
    assert arrivals(trace, 1).tolist() == made.tolist()
    assert arrivals(trace, 2).tolist() != made.tolist()
