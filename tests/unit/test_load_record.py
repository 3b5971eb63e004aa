"""Counting: quantiles are right to half a percent, and parts add up to the whole."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest

from hack.load import Options
from hack.load.exchange import OUTCOMES, Exchange, Wanted
from hack.load.histogram import Histogram
from hack.load.record import Record, Recorder
from hack.load.report import report, write_timeline
from hack.shell import Failure


@pytest.mark.parametrize("seed", range(5))
def test_quantiles(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311
    numbers = sorted(rng.lognormvariate(-3, 2) for _ in range(5000))
    histogram = Histogram()
    for number in numbers:
        histogram.record(number)
    for share in (0.001, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = numbers[max(0, -int(-share * len(numbers) // 1) - 1)]
        assert histogram.quantile(share) == pytest.approx(exact, rel=0.005)
    assert (histogram.low, histogram.high) == (numbers[0], numbers[-1])


def test_memory_is_bounded() -> None:
    histogram = Histogram()
    for exponent in range(-200, 200):
        for step in range(100):
            histogram.record(10 ** (exponent / 10) * (1 + step / 100))
    assert len(histogram.buckets) <= 2600
    assert Histogram().milliseconds() == {"count": 0}


OPTIONS = Options(
    ("http://a",), rate="5,5", seconds=10, slo_milliseconds=500, slo_first_token_milliseconds=100, timeline=Path("x")
)


def exchanges(number: int) -> list[Exchange]:
    rng = random.Random(1)  # noqa: S311
    made = []
    for index in range(number):
        one = Exchange(index, 100 + rng.random() * 10, b"wire", Wanted("get", False, True, 1), rng.choice("ab"), 0)
        one.sent = rng.random() < 0.9
        one.received = rng.randrange(100)
        one.reader.status = rng.choice([0, 200, 429])
        if one.reader.status == 429:
            one.reader.headers = {b"retry-after": b"%d" % rng.randrange(1, 200)}
        one.first_piece = one.intended + rng.random() if rng.random() < 0.5 else 0.0
        one.gaps = [rng.random() for _ in range(3)]
        one.usage = {"completion_tokens": 3} if rng.random() < 0.5 else {}
        one.end(rng.choice(OUTCOMES), one.intended + rng.random(), rng.choice(["", "detail"]))
        made.append(one)
    return made


def counted(parts: list[list[Exchange]]) -> Record:
    whole = Record()
    for part in parts:
        recorder = Recorder(100.0, [5.0, 10.0], OPTIONS)
        for one in part:
            recorder.scheduled(one.intended, one.value)
            recorder.sent(0.001)
            recorder.finished(one)
        recorder.record.planned = len(part)
        whole.merge(pickle.loads(pickle.dumps(recorder.record)))  # noqa: S301
    return whole


def test_parts_add_up_to_the_whole(tmp_path: Path) -> None:
    made = exchanges(1000)
    one, three = counted([made]), counted([made[::3], made[1::3], made[2::3]])
    told = report(OPTIONS, [], one, 0)
    again = report(OPTIONS, [], three, 0)
    for name, group in told["latency_ms"].items():
        assert again["latency_ms"][name] == pytest.approx(group), name
    for name in ("requests", "outcomes", "statuses", "details", "tokens", "bytes", "attainment", "goodput_per_second"):
        assert again[name] == told[name], name
    assert again["retry_after"]["count"] == told["retry_after"]["count"] > 0
    assert [step["attainment"] for step in again["steps"]] == [step["attainment"] for step in told["steps"]]
    assert again["classes"].keys() == {"a", "b"}
    lines = []
    for name, record in (("one", one), ("three", three)):
        write_timeline(tmp_path / name, record)
        lines.append((tmp_path / name).read_text())
    assert lines[0] == lines[1]


def test_a_report_adds_up() -> None:
    told = report(OPTIONS, [], counted([exchanges(1000)]), 0)
    requests = told["requests"]
    assert sum(told["outcomes"].values()) == requests["scheduled"] == 1000
    assert requests["ok"] + requests["failed"] + requests["abandoned"] == 1000
    assert told["outcomes"]["ok"] == requests["ok"] == told["latency_ms"]["ok"]["count"]
    assert told["latency_ms"]["ok_and_failed"]["count"] == requests["ok"] + requests["failed"]
    for groups in (told["classes"].values(), told["steps"]):
        for name in ("scheduled", "sent", "ok", "failed", "abandoned"):
            assert sum(group[name] for group in groups) == requests[name]
        assert sum(group["latency_ms"]["count"] for group in groups) == requests["ok"]


def test_a_timeline_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="--timeline"):
        write_timeline(tmp_path / "no" / "file.csv", Record())
