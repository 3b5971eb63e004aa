"""Which pools give capacity."""

from math import nan

from hypothesis import given
from hypothesis import strategies as some

from springtide.scaling.allocation import allocate
from springtide.scaling.moment import Pool


def offer(name: str, cost: float = nan, capacity: float = 2.0, most: int = 10, fallback: bool = False) -> Pool:
    return Pool(name, 1, most, 1, 1, capacity, cost, fallback)


def test_what_is_cheapest_for_its_capacity_comes_first() -> None:
    pools = [offer("slow", cost=1.0, capacity=1.0), offer("fast", cost=3.0, capacity=6.0), offer("unpriced")]
    assert allocate(20.0, pools)[0] == {"slow": 1, "fast": 3, "unpriced": 1}
    assert allocate(66.0, pools)[0] == {"slow": 4, "fast": 10, "unpriced": 1}


def test_a_fallback_comes_last() -> None:
    pools = [offer("small", cost=0.1, fallback=True), offer("gpu", cost=10.0)]
    assert allocate(22.0, pools) == ({"small": 1, "gpu": 10}, 0.0)
    assert allocate(24.0, pools) == ({"small": 2, "gpu": 10}, 0.0)


def test_what_lacks_at_all_limits_is_told() -> None:
    assert allocate(100.0, [offer("a"), offer("b")]) == ({"a": 10, "b": 10}, 60.0)


@given(
    some.floats(0, 1e4),
    some.lists(some.tuples(some.floats(0.1, 10), some.floats(0.1, 50), some.integers(1, 40)), min_size=1, max_size=4),
)
def test_the_need_is_met_with_no_replica_too_many(need: float, kinds: list[tuple[float, float, int]]) -> None:
    pools = [offer(str(index), cost, capacity, most) for index, (cost, capacity, most) in enumerate(kinds)]
    replicas, lacking = allocate(need, pools)
    served = sum(replicas[pool.name] * pool.capacity for pool in pools)
    assert served + lacking >= need * (1 - 1e-5) - 1e-5 * max(pool.capacity for pool in pools)
    assert all(1 <= replicas[pool.name] <= pool.most for pool in pools)
    if lacking:
        assert all(replicas[pool.name] == pool.most for pool in pools)
    spare = [pool.capacity for pool in pools if replicas[pool.name] > 1]
    assert not spare or served - max(spare) < need
