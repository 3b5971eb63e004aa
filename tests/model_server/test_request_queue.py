"""The queue of requests: nothing is lost, and everybody has what is promised. No clock, no threads."""

from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide_server.engine.queue import AGE, Entry, PriorityQueue, Refused, Row
from springtide_server.priorities import DEFAULTS, PriorityClass

CRITICAL, STANDARD, BACKGROUND = 0, 1, 2
Queue = PriorityQueue[Entry]
ROOMY = 10**9


def queue(classes: Sequence[PriorityClass] = DEFAULTS, places: int = ROOMY, tokens: int = ROOMY) -> Queue:
    return PriorityQueue(classes, places, tokens)


def entry(rank: int = STANDARD, *lengths: int, deadline: float | None = None) -> Entry:
    return Entry(lengths or (1,), rank, 0.0, deadline)


def all_fit(row: Row[Entry], must: bool) -> bool:
    return True


def run(waiting: Queue, rows: int, fits: Callable[[Row[Entry], bool], bool] = all_fit) -> list[Row[Entry]]:
    picked = waiting.pick(rows, fits)
    waiting.take(picked)
    return picked


def refusal(waiting: Queue, newcomer: Entry) -> str:
    with pytest.raises(Refused) as refused:
        waiting.add(newcomer)
    return refused.value.reason


classes = st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=6).map(
    lambda drawn: [PriorityClass(f"c{i}", percent // len(drawn), shed) for i, (percent, shed) in enumerate(drawn)]
)
lengths = st.lists(st.integers(0, 50), min_size=1, max_size=8)


@settings(deadline=None)
@given(classes, st.integers(1, 12), st.integers(1, 300), st.data())
def test_nothing_is_lost_or_doubled_and_bounds_hold(
    kinds: list[PriorityClass], places: int, tokens: int, data: st.DataObject
) -> None:
    waiting = queue(kinds, places, tokens)
    inside: dict[Entry, set[int]] = {}
    for now in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["add", "add", "run", "remove", "expire", "reclassify"]))
        if action == "add":
            deadline = data.draw(st.none() | st.integers(0, 40))
            new = Entry(data.draw(lengths), data.draw(st.integers(0, len(kinds) - 1)), now, deadline)
            try:
                evicted = waiting.add(new)
            except Refused:
                evicted = []
            else:
                inside[new] = set(range(len(new.lengths)))
            for victim in evicted:
                worse = (kinds[victim.rank].sheddable, victim.rank) > (kinds[new.rank].sheddable, new.rank)
                assert worse and not victim.begun
                assert inside.pop(victim) == set(victim.waiting)
        elif action == "run":
            limit = data.draw(st.integers(1, 6))
            longest = data.draw(st.integers(1, 60))
            seen: list[Row[Entry]] = []

            def fits(row: Row[Entry], must: bool, longest: int = longest, seen: list[Row[Entry]] = seen) -> bool:
                if not seen or row.length <= longest:
                    seen.append(row)
                    return True
                return False

            picked = run(waiting, limit, fits)
            assert len(picked) <= limit and (picked or not inside)
            assert len(set(picked)) == len(picked)
            for row in picked:
                inside[row.entry].remove(row.number)
                if not inside[row.entry]:
                    del inside[row.entry]
        elif action == "remove" and inside:
            gone = data.draw(st.sampled_from(list(inside)))
            assert waiting.remove(gone) and not waiting.remove(gone)
            del inside[gone]
        elif action == "expire":
            for late in waiting.expire(now):
                assert late.deadline is not None and late.deadline <= now
                del inside[late]
            assert not [one for one in inside if one.deadline is not None and one.deadline <= now]
        elif action == "reclassify":
            order, others = list(waiting), data.draw(classes)
            ranks = [data.draw(st.integers(0, len(others) - 1)) for _ in kinds]
            before = {one: one.rank for one in order}
            waiting.reclassify(others, ranks)
            kinds = others
            assert all(one.rank == ranks[rank] for one, rank in before.items())
            assert sorted(order, key=lambda one: (one.rank, one.arrival)) == list(waiting)
        assert set(waiting) == set(inside) and len(waiting) == len(inside) <= places
        assert all(set(one.waiting) == rows for one, rows in inside.items())
        assert waiting.rows == sum(map(len, inside.values()))
        total = sum(one.lengths[i] for one, rows in inside.items() for i in rows)
        assert waiting.tokens() == waiting.tokens(len(kinds) - 1) == total <= tokens


@settings(deadline=None, max_examples=30)
@given(classes, st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_head_of_each_class_runs_within_the_bound(kinds: list[PriorityClass], rows: int, random: object) -> None:
    """However the batches turn out: here a row other than the first fits by chance."""
    waiting = queue(kinds)
    choose = random.choice  # type: ignore[attr-defined]
    since = Counter[int]()
    for rank in range(len(kinds)):
        waiting.add(entry(rank, choose([1, 5, 400])))
        waiting.add(entry(rank, choose([1, 5, 400])))
    for _ in range(150):
        heads = {rank: next(one for one in waiting if one.rank == rank) for rank in range(len(kinds))}
        first: list[Row[Entry]] = []

        def fits(row: Row[Entry], must: bool, first: list[Row[Entry]] = first) -> bool:
            fit = not first or choose([True, False])
            first.append(row)
            return bool(fit)

        picked = {row.entry for row in run(waiting, rows, fits)}
        for rank, head in heads.items():
            since[rank] = 0 if head in picked else since[rank] + 1
            assert since[rank] < AGE + len(kinds)
        for gone in picked:
            waiting.add(entry(gone.rank, choose([1, 5, 400])))


@settings(deadline=None, max_examples=30)
@given(classes, st.integers(1, 20), st.randoms(use_true_random=False))
def test_a_reserved_share_holds_over_any_stretch(kinds: list[PriorityClass], rows: int, random: object) -> None:
    """A class that waits gets its share, less at most a batch, or two where several have one; whatever the lengths."""
    waiting = queue(kinds)
    choose = random.choice  # type: ignore[attr-defined]
    ranks = range(len(kinds))
    late = choose(ranks)  # comes when others have borrowed its share for long
    served: list[Counter[int]] = []
    for number in range(120):
        for rank in ranks:
            while (rank != late or number > 40) and waiting.depth(rank) < 2 * rows:
                waiting.add(entry(rank, choose([1, 5, 40])))
        first: list[Row[Entry]] = []

        def fits(row: Row[Entry], must: bool, first: list[Row[Entry]] = first) -> bool:
            fit = must or not first or first[0].length == row.length
            first.append(row)
            return fit

        tokens = Counter[int]()
        for row in run(waiting, rows, fits):
            tokens[row.entry.rank] += row.length
        served.append(tokens)
    largest = max(sum(tokens.values()) for tokens in served)
    for rank in ranks:
        worst, lag = 0.0, 0.0
        for number, tokens in enumerate(served):
            if rank != late or number > 40:
                share = kinds[rank].reserved_percent / 100
                lag = max(0.0, lag + share * sum(tokens.values()) - tokens[rank])
                worst = max(worst, lag)
        assert worst <= largest * (1 if sum(kind.reserved_percent > 0 for kind in kinds) == 1 else 2)


def test_a_reserved_share_comes_in_the_next_batch() -> None:
    kinds = [PriorityClass("a"), PriorityClass("b"), PriorityClass("c", 30)]
    waiting = queue(kinds)
    for _ in range(100):
        waiting.add(entry(0))
        waiting.add(entry(2))
    assert [sum(row.entry.rank == 2 for row in run(waiting, 10)) for _ in range(5)] == [1, 2, 3, 3, 3]


def test_first_come_first_served_within_a_class() -> None:
    waiting = queue()
    entries = [entry(STANDARD, 3, 1, 2), entry(STANDARD, 1), entry(STANDARD, 5)]
    for one in entries:
        waiting.add(one)
    order = [row for _ in range(5) for row in run(waiting, 1)]
    assert [(entries.index(row.entry), row.number) for row in order] == [(0, 1), (0, 2), (0, 0), (1, 0), (2, 0)]


def test_weights_share_the_work() -> None:
    waiting = queue([PriorityClass("a"), PriorityClass("b"), PriorityClass("c")])
    for rank in (0, 1, 2):
        for _ in range(700):
            waiting.add(entry(rank, 10))
    counts = Counter(row.entry.rank for _ in range(73) for row in run(waiting, 10))
    assert counts == {0: 640, 1: 80, 2: 10}


def test_who_was_alone_for_long_owes_nothing() -> None:
    waiting = queue([PriorityClass("a"), PriorityClass("b")])
    for _ in range(1000):
        waiting.add(entry(1, 100))
        run(waiting, 8)
    for _ in range(100):
        waiting.add(entry(0, 100))
        waiting.add(entry(1, 100))
    assert Counter(row.entry.rank for row in run(waiting, 54)) == {0: 48, 1: 6}


def test_the_worst_goes_when_the_queue_is_full() -> None:
    waiting = queue(DEFAULTS, places=4)
    critical, standard, older, newer = entry(CRITICAL), entry(STANDARD), entry(BACKGROUND), entry(BACKGROUND)
    for one in (older, newer, standard, critical):
        assert waiting.add(one) == []
    assert waiting.add(entry(STANDARD)) == [newer]
    assert waiting.add(entry(CRITICAL)) == [older]
    assert refusal(waiting, entry(STANDARD)) == "queue_full"
    assert refusal(waiting, entry(BACKGROUND)) == "shed"
    assert waiting.add(entry(CRITICAL))[0].rank == STANDARD
    assert waiting.add(entry(CRITICAL)) == [standard]
    assert refusal(waiting, entry(CRITICAL)) == "queue_full"


def test_nobody_goes_in_vain_and_nobody_who_has_begun() -> None:
    waiting = queue([PriorityClass("a"), PriorityClass("b")], tokens=100)
    begun, fresh = entry(1, 10, 40), entry(1, 20)
    waiting.add(begun)
    run(waiting, 1)
    waiting.add(fresh)
    assert refusal(waiting, entry(0, 90)) == "queue_full"  # without `fresh` there would be room for 60
    assert len(waiting) == 2
    assert waiting.add(entry(0, 60)) == [fresh]


def test_what_can_never_wait() -> None:
    waiting = queue(tokens=100)
    assert refusal(waiting, entry(CRITICAL, 60, 41)) == "too_large"
    assert waiting.add(entry(BACKGROUND, 60, 40)) == []  # the queue is empty: anything that may wait at all is let in


def test_sheddable_requests_have_half_the_queue() -> None:
    waiting = queue(DEFAULTS, places=4)
    assert waiting.add(entry(BACKGROUND)) == waiting.add(entry(BACKGROUND)) == []
    assert refusal(waiting, entry(BACKGROUND)) == "shed"
    assert waiting.add(entry(STANDARD)) == []
    alone = queue(DEFAULTS, places=1)
    assert alone.add(entry(BACKGROUND)) == []


def test_other_classes_begin_with_nothing_owed() -> None:
    waiting = queue([PriorityClass("a", 50), PriorityClass("b")])
    for _ in range(40):
        waiting.add(entry(0))
        waiting.add(entry(1))
    run(waiting, 20)
    waiting.reclassify([PriorityClass("b"), PriorityClass("c", 50), PriorityClass("d")], [1, 0])
    assert (waiting.depth(0), waiting.depth(1), waiting.depth(2)) == (37, 23, 0)
    assert Counter(row.entry.rank for row in run(waiting, 10)) == {0: 9, 1: 1}
    assert Counter(row.entry.rank for row in run(waiting, 10)) == {0: 6, 1: 4}


def test_an_empty_queue() -> None:
    waiting = queue()
    assert waiting.pick(8, all_fit) == [] and waiting.expire(1e9) == [] and len(waiting) == waiting.tokens() == 0
    waiting.take([])
    waiting.add(Entry([], STANDARD, 0.0))  # no row, nothing to wait for
    assert len(waiting) == 0
    waiting.add(entry(STANDARD, 0, 0))
    assert [row.length for row in run(waiting, 8)] == [0, 0]
