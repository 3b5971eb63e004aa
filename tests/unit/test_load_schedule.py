"""When the load generator sends: arrivals are what they are said to be, and the same for the same seed."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest

from hack.load import Options
from hack.load.content import Content, draws
from hack.load.schedule import Schedule, draw
from hack.load.sender import Run, Shard
from hack.load.targets import Target
from hack.shell import Failure

TARGET = Target("http://127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", 80, "/", False)


def schedule(**options: Any) -> Schedule:
    asked = Options(("http://127.0.0.1",), **options)
    asked.verify()
    return draw(asked)


def test_poisson_gaps_are_exponential() -> None:
    times = schedule(rate=100, seconds=600, seed=7).times
    assert abs(len(times) - 60_000) < 4 * math.sqrt(60_000)
    gaps = sorted(after - before for before, after in itertools.pairwise(times))
    expected = [1 - math.exp(-100 * gap) for gap in gaps]
    distance = max(abs(number / len(gaps) - share) for number, share in enumerate(expected))
    assert distance < 1.63 / math.sqrt(len(gaps)), "Kolmogorov and Smirnov, 1 %"
    # what comes in a second doesn't depend on the second before
    counts = [sum(1 for _ in group) for _, group in itertools.groupby(times, key=int)]
    mean = sum(counts) / len(counts)
    together = sum((one - mean) * (two - mean) for one, two in itertools.pairwise(counts))
    alone = sum((one - mean) ** 2 for one in counts)
    assert abs(together / alone) < 4 / math.sqrt(len(counts))
    assert alone / len(counts) == pytest.approx(mean, rel=0.25), "a Poisson count's variance is its mean"


def test_the_seed_decides() -> None:
    assert schedule(rate=50, seed=1).times == schedule(rate=50, seed=1).times
    assert schedule(rate=50, seed=1).times != schedule(rate=50, seed=2).times


def test_constant_arrivals() -> None:
    times = schedule(rate=10, seconds=2, arrivals="constant").times
    assert list(times) == pytest.approx([0.05 + 0.1 * number for number in range(20)])


def test_steps_share_the_time() -> None:
    drawn = schedule(rate="10,0,40", seconds=3, arrivals="constant")
    assert [sum(step <= time < step + 1 for time in drawn.times) for step in range(3)] == [10, 0, 40]
    assert [end for end, _, _ in drawn.steps] == pytest.approx([1, 2, 3])


def test_a_ramp_rises() -> None:
    times = schedule(rate="0-100", seconds=10, arrivals="constant").times
    assert len(times) == 500
    assert sum(time < 5 for time in times) == 125, "a quarter of the area of a triangle"
    falling = schedule(rate="100-0", seconds=10, arrivals="constant").times
    assert sum(time < 5 for time in falling) == 375
    assert list(falling) == sorted(falling)
    assert falling[-1] < 10


def test_so_many_requests() -> None:
    drawn = schedule(rate=100, seconds=100, requests=10)
    assert len(drawn.times) == 10
    assert drawn.seconds == drawn.times[-1]


def test_a_trace_of_counts(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,requests,else\n0,5,x\n10,0,x\n20,30,x\n")
    times = schedule(trace=trace, seconds=3, speed_up=10).times
    assert [sum(step <= time < step + 1 for time in times) for step in range(3)] == [5, 0, 30]
    assert list(times) == sorted(times)
    later = schedule(trace=trace, seconds=1, speed_up=10, trace_start=20).times
    assert len(later) == 30


def test_a_trace_is_thinned(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,requests\n" + "".join(f"{second},100000\n" for second in range(100)))
    times = schedule(trace=trace, seconds=100, scale=0.001).times
    assert abs(len(times) - 10_000) < 4 * math.sqrt(10_000)
    counts = [sum(1 for _ in group) for _, group in itertools.groupby(times, key=int)]
    mean = sum(counts) / len(counts)
    assert sum((one - mean) ** 2 for one in counts) / len(counts) == pytest.approx(mean, rel=0.6), "Poisson's noise"


def test_a_trace_of_requests(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,in_tokens,out_tokens\n0.0,374,44\n4.3,396,109\n4.5,7,0\n100,1,1\n")
    options = Options(("http://127.0.0.1",), trace=trace, kind="chat", speed_up=2, seconds=10)
    assert list(draw(options).times) == pytest.approx([0, 2.15, 2.25])
    requests = [one for _, one in Run(options, [TARGET], Shard())._numbered()]
    assert [(one.lengths, one.max_tokens) for one in requests] == [((374,), 44), ((396,), 109), ((7,), 1)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "t_s,requests\n1\n",
        "t_s,requests\n5,1\n4,1\n",
        "t_s,requests\n1,-1\n",
        "t_s,requests\n1,nan\n",
    ],
)
def test_traces_that_are_none(tmp_path: Path, text: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text(text)
    with pytest.raises(Failure, match=r"trace\.csv"):
        schedule(trace=trace)


def test_too_many_requests(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="5000000"):
        schedule(rate=1e6, seconds=3600)
    trace = tmp_path / "trace.csv"
    trace.write_text("t_s,requests\n0,100000000000\n")
    with pytest.raises(Failure, match="5000000"):
        schedule(trace=trace)


def test_shards_are_the_whole() -> None:
    mixed = "X-Priority=critical:0.2,standard:0.8"
    options = Options(("http://a",), rate=200, kind="chat", tokens="8-64", header_mix=mixed, abandon=0.1, seconds=5)
    whole = list(Run(options, [TARGET], Shard())._numbered())
    parts = [list(Run(options, [TARGET], Shard(index, 3))._numbered()) for index in range(3)]
    assert sorted(itertools.chain(*parts), key=lambda one: one[0]) == whole
    assert [index for index, _ in whole] == list(range(len(whole)))
    assert [Shard(index, 3).share(10) for index in range(3)] == [4, 3, 3]


def test_what_is_drawn_is_mixed_as_asked() -> None:
    mixed = "X-Priority=critical:1,standard:3"
    options = Options(("http://a",), rate=1, tokens="8,100-200", header_mix=mixed, abandon=0.25, inputs=2)
    drawn = list(itertools.islice(draws(options), 10_000))
    assert abs(sum(one.value == "critical" for one in drawn) - 2500) < 4 * math.sqrt(2500)
    assert abs(sum(one.abandon_after is not None for one in drawn) - 2500) < 4 * math.sqrt(2500)
    assert abs(sum(one.lengths[0] == 8 for one in drawn) - 5000) < 4 * math.sqrt(5000)
    assert {len(one.lengths) for one in drawn} == {2}
    assert {one.lengths[1] for one in drawn} == {8, *range(100, 201)}


def test_texts_have_their_length_and_differ() -> None:
    content = Content(Options(("http://a",), rate=1), [TARGET])
    assert [len(content.text(5, length).split()) for length in (1, 32, 40_000)] == [1, 32, 40_000]
    assert len({content.text(index, 16) for index in range(1000)}) == 1000
    again = Content(Options(("http://a",), rate=1), [TARGET])
    assert content.text(3, 100) == again.text(3, 100)
    other = Content(Options(("http://a",), rate=1, seed=2), [TARGET])
    assert content.text(3, 100) != other.text(3, 100)
