"""From Prometheus' answers to signals: what each fault does."""

import math
from dataclasses import replace

import pytest

from springtide.signals.answers import Answer, Failure, Sample
from springtide.signals.read import SETTLED_SECONDS, STALE_SECONDS, read
from springtide.signals.records import MEANS, MEDIANS, RECORDS, SIGNALS, SUMS
from springtide.signals.values import FORGOTTEN_SECONDS, Doubt, Key, Pool, Reading, Signals, carry
from tests.unit.signals.support import CHAT, GATEWAY, NOW, answers, pool_of, reasons, sample, value_of

EVERYTHING: dict[str, dict[str, float]] = {name: {"a": 0.2, "b": 0.4} for name in SIGNALS}


def one(given: dict[str, Answer], pool: Pool) -> Signals:
    (signals,) = read(given, {CHAT: pool}).values()
    return signals


def test_every_signal_has_a_field_and_a_question() -> None:
    assert set(SIGNALS) == {name for name, one in Signals.__dataclass_fields__.items() if "Reading" in str(one.type)}
    assert {*SUMS, *MEDIANS, "use", "scraped"} == RECORDS.keys()
    assert len(RECORDS) <= 10, "ten questions a tick, however many services there are"


def test_values_of_pods_become_one() -> None:
    signals = one(answers(EVERYTHING, ages={"a": 2.0, "b": 9.0}), pool_of("a", "b"))
    assert not signals.doubts
    assert (signals.ready, signals.seen, signals.settled) == (2, 2, 2)
    assert signals.readings.keys() == set(SIGNALS)
    assert all(reading.age == 9.0 for reading in signals.readings.values()), "as old as the oldest part"
    for names, expected in ((SUMS, 0.6), (MEDIANS, 0.2), (MEANS, 0.3)):
        assert [value_of(signals, name) for name in names] == [pytest.approx(expected)] * len(names)


def test_what_a_runtime_does_not_measure_is_no_fault() -> None:
    signals = one(answers({"queue": {"a": 1}}), pool_of("a"))
    assert signals.readings.keys() == {"queue"}
    assert not signals.doubts


def test_no_traffic_has_no_latency() -> None:
    signals = one(answers({"latency": {"a": math.nan}, "requests": {"a": 0.0}}), pool_of("a"))
    assert signals.latency is None
    assert value_of(signals, "requests") == 0.0
    assert not signals.doubts


def test_nothing_is_known_of_a_prometheus_that_is_empty() -> None:
    signals = one(dict.fromkeys(RECORDS, ()), pool_of("a", "b"))
    assert not signals.readings
    assert reasons(signals) == ["Stale"]


@pytest.mark.parametrize("failed", ["queue", "use"])
def test_a_question_that_fails_costs_its_signals_only(failed: str) -> None:
    given = answers(EVERYTHING) | {failed: Failure("TimedOut", "no answer within 5 s")}
    signals = one(given, pool_of("a", "b"))
    assert signals.readings.keys() == set(SIGNALS) - ({"gpu", "kv"} if failed == "use" else {failed})
    assert reasons(signals) == ["NotAnswered"]
    assert "no answer within 5 s" in signals.doubts[0].message


def test_nothing_is_known_where_nothing_tells_how_old_it_is() -> None:
    given = answers(EVERYTHING)
    for broken in (given | {"scraped": Failure("Unauthorized", "HTTP 401")}, {}):
        signals = one(broken, pool_of("a", "b"))
        assert not signals.readings
        assert reasons(signals) == ["NotAnswered"]
        assert signals.ready == 2


def test_stale() -> None:
    given = answers(EVERYTHING, ages={"a": STALE_SECONDS + 1, "b": STALE_SECONDS + 1})
    signals = one(given, pool_of("a", "b"))
    assert not signals.readings
    assert reasons(signals) == ["Stale"]
    assert "61 s old" in signals.doubts[0].message
    (patient,) = read(given, {CHAT: pool_of("a", "b")}, stale_seconds=120).values()
    assert patient.readings.keys() == set(SIGNALS)


def test_a_partial_scrape_does_not_look_like_less_load() -> None:
    given = answers({"requests": {"a": 3.0, "b": 5.0}, "kv": {"a": 0.5, "b": 0.7}})
    signals = one(given, pool_of("a", "b", "c", "d"))
    assert value_of(signals, "requests") == 16.0, "the unseen do as the seen do"
    assert value_of(signals, "kv") == pytest.approx(0.6)
    assert reasons(signals) == ["PartialScrape"]
    assert (signals.ready, signals.seen) == (4, 2)


def test_less_than_half_is_not_known() -> None:
    signals = one(answers({"requests": {"a": 3.0}, "latency": {"a": 0.5}}), pool_of("a", "b", "c"))
    assert signals.requests is None
    assert value_of(signals, "latency") == 0.5
    assert set(reasons(signals)) == {"PartialScrape"}


@pytest.mark.parametrize("rows", [{"a": 3.0}, {"a": 3.0, "b": math.nan}])
def test_a_pod_that_has_just_become_ready_does_not_look_like_more_load(rows: dict[str, float]) -> None:
    pool = Pool({"a": 3600.0, "b": 20.0, "c": 40.0})
    signals = one(answers({"requests": rows}), pool)
    assert value_of(signals, "requests") == 3.0
    assert not signals.doubts
    later = one(answers({"requests": rows}), Pool({"a": 3600.0, "b": 60.0}))
    assert value_of(later, "requests") == 6.0
    alone = one(answers({"requests": {}}), Pool({"b": 20.0}))
    assert (alone.requests, reasons(alone)) == (None, ["Stale"])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1.0])
def test_a_pod_that_gives_no_number_is_not_seen(wrong: float) -> None:
    signals = one(answers({"queue": {"a": 4.0, "b": wrong}}), pool_of("a", "b"))
    assert value_of(signals, "queue") == 8.0
    alone = one(answers({"queue": {"a": wrong}}), pool_of("a"))
    assert alone.queue is None
    assert reasons(alone) == ["NotFinite"]


def test_a_ratio_is_a_ratio() -> None:
    signals = one(answers({"kv": {"a": 0.5, "b": 500.0, "c": 1.01}}), pool_of("a", "b", "c"))
    assert value_of(signals, "kv") == pytest.approx(0.755)
    assert value_of(one(answers({"kv": {"a": 1.04}}), pool_of("a")), "kv") == 1.0


def test_zeros_of_pods_that_load_are_no_demand() -> None:
    signals = one(answers({"requests": {"a": 0.0}}), pool_of())
    assert not signals.readings
    assert reasons(signals) == ["NothingReady"]


def test_pods_that_drain_still_work() -> None:
    signals = one(answers({"requests": {"a": 3.0, "b": 3.0, "leaving": 1.0, "loading": 0.0}}), pool_of("a", "b"))
    assert value_of(signals, "requests") == 7.0
    assert not signals.doubts


def test_one_pod_lies_by_a_thousand() -> None:
    told: dict[str, float] = {"a": 3.0, "b": 4.0, "c": 5000.0, "d": 6.0}
    typical = dict.fromkeys(SUMS, 8.0)
    given = answers(dict.fromkeys(SUMS, told) | dict.fromkeys(MEDIANS, told))
    signals = one(given, pool_of(*told, typical=typical))
    assert [value_of(signals, name) for name in SUMS] == [21.0] * len(SUMS)
    assert [value_of(signals, name) for name in MEDIANS] == [4.0] * len(MEDIANS)
    assert set(reasons(signals)) == {"Outlier"}
    assert "pod c says 5000; counted as 8" in signals.doubts[0].message


def test_an_outlier_that_nobody_can_judge_is_not_known() -> None:
    signals = one(answers({"requests": {"a": 3.0, "b": 4.0, "c": 5000.0}}), pool_of("a", "b", "c"))
    assert signals.requests is None
    assert reasons(signals) == ["Outlier"]
    assert "pod c" in signals.doubts[0].message


def test_new_pods_do_not_outvote_an_old_one() -> None:
    given = answers({"requests": {"old": 500.0, "new1": 1.0, "new2": 1.0}})
    young = Pool({"old": 3600.0, "new1": SETTLED_SECONDS - 1, "new2": SETTLED_SECONDS - 1})
    signals = one(given, young)
    assert value_of(signals, "requests") == 502.0
    assert signals.settled == 1
    assert not signals.doubts


def test_two_services_of_one_name() -> None:
    other = Key("team-b", "chat", "gpu")
    first, second = (answers({"queue": {"chat-gpu-0": depth}}, key=key) for key, depth in ((CHAT, 1.0), (other, 9.0)))
    both = {name: (*_rows(first[name]), *_rows(second[name])) for name in RECORDS}
    found = read(both, {CHAT: pool_of("chat-gpu-0"), other: pool_of("chat-gpu-0")})
    assert {key: value_of(signals, "queue") for key, signals in found.items()} == {CHAT: 1.0, other: 9.0}


def _rows(answer: Answer) -> tuple[Sample, ...]:
    assert isinstance(answer, tuple)
    return answer


@pytest.mark.parametrize("order", [1, -1])
def test_of_the_same_row_twice_the_larger_counts(order: int) -> None:
    given = answers({"requests": {"a": 3.0}})
    for second, expected in ((5.0, 5.0), (1.0, 3.0), (math.nan, 3.0)):
        rows = (*_rows(given["requests"]), sample("a", second))
        assert value_of(one(given | {"requests": rows[::order]}, pool_of("a")), "requests") == expected


def test_rows_of_nobody_we_know_change_nothing() -> None:
    given = answers({"requests": {"a": 3.0}})
    strange = (Sample({}, 5.0, NOW), sample("a", 7.0, key=Key("team-c", "x", "y")), Sample({"pod": "a"}, 9.0, NOW))
    found = read(given | {"requests": (*_rows(given["requests"]), *strange)}, {CHAT: pool_of("a")})
    assert found.keys() == {CHAT}
    assert value_of(found[CHAT], "requests") == 3.0


def test_the_gateway_tells_of_the_service() -> None:
    given = answers({"requests": {"a": 3.0}})
    for name, value in (("scraped", NOW - 3.0), ("requests", 12.0), ("latency", 0.25)):
        proxies = tuple(sample(pod, value, key=GATEWAY, source="gateway") for pod in ("envoy-0", "envoy-1"))
        given[name] = (*_rows(given[name]), *proxies)
    found = read(given, {CHAT: pool_of("a")})
    assert found.keys() == {CHAT, GATEWAY}
    assert value_of(found[CHAT], "requests") == 3.0
    assert (value_of(found[GATEWAY], "requests"), value_of(found[GATEWAY], "latency")) == (24.0, 0.25)
    assert not found[GATEWAY].doubts


def test_a_pod_can_not_speak_as_the_gateway() -> None:
    given = answers({"requests": {"a": 3.0}})
    for name, value in (("scraped", NOW - 3.0), ("requests", 900.0)):
        given[name] = (*_rows(given[name]), sample("a", value, key=GATEWAY, source="pod"))
    found = read(given, {CHAT: pool_of("a")})
    assert found.keys() == {CHAT}
    assert value_of(found[CHAT], "requests") == 3.0


def test_ages_are_by_the_clock_of_prometheus() -> None:
    for jump in (-86400.0, 0.0, 86400.0):
        given: dict[str, Answer] = {
            name: tuple(
                replace(row, at=row.at + jump, value=row.value + (jump if name == "scraped" else 0.0))
                for row in _rows(answer)
            )
            for name, answer in answers(EVERYTHING, ages={"a": 2.0, "b": 9.0}).items()
        }
        requests = one(given, pool_of("a", "b")).requests
        assert requests is not None
        assert requests.value == pytest.approx(0.6)
        assert requests.age == pytest.approx(9.0)


def test_the_clock_of_prometheus_jumps_back() -> None:
    signals = one(answers(EVERYTHING, ages={"a": -3600.0, "b": -3600.0}), pool_of("a", "b"))
    assert not signals.readings
    assert reasons(signals) == ["ClockJump"]
    assert "3600 s in the future" in signals.doubts[0].message
    a_moment_ahead = one(answers({"queue": {"a": 1.0, "b": 2.0}}, ages={"a": -1.0, "b": 1.0}), pool_of("a", "b"))
    assert a_moment_ahead.queue == Reading(3.0, 1.0)


def test_what_is_not_known_holds() -> None:
    first = Signals(requests=Reading(9.0, 4.0), queue=Reading(2.0, 4.0), ready=3, seen=3)
    doubt = Doubt("PartialScrape", "one of three")
    second = Signals(queue=Reading(1.0, 3.0), ready=3, seen=1, doubts=(doubt,))
    held = carry(first, second, 15.0)
    assert held.requests == Reading(9.0, 19.0)
    assert held.queue == Reading(1.0, 3.0)
    assert (held.seen, held.doubts) == (1, (doubt,))
    assert carry(held, Signals(), FORGOTTEN_SECONDS - 18.0) == Signals(queue=Reading(1.0, FORGOTTEN_SECONDS - 15.0))
    assert carry(first, Signals(), -5.0).requests == Reading(9.0, 4.0), "nothing grows younger"
