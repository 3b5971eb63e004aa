"""The policy against simpler ones on a virtual clock: no real time is measured, so the numbers are always the same.

`pytest -s` prints the tables.
"""

import pytest

from springtide_server.engine.batching import Limits
from tests.model_server.simulation import FixedWait, Load, Outcome, Seconds, Springtide, simulate

ROWS, TOKENS = 64, 16384


def cpu(rows: int, longest: int) -> float:
    """MiniLM on two cores, roughly: a batch saves little."""
    return 0.004 + 40e-6 * rows * longest


def gpu(rows: int, longest: int) -> float:
    """An encoder on a GPU, roughly: a batch costs as much as many rows."""
    return 0.005 + 1e-6 * rows * longest


def best_fixed_wait(load: Load, seconds: Seconds, slo: float) -> Outcome:
    """At the best of a sweep, as a careful user would set it."""
    waits = (0.0, 0.002, 0.005, 0.010)
    return max(
        (simulate(FixedWait(Limits(rows, TOKENS, wait)), load, seconds) for rows in (8, 32) for wait in waits),
        key=lambda outcome: (outcome.goodput(slo), -outcome.percentile(99)),
    )


def show(name: str, outcome: Outcome, slo: float) -> None:
    p50, p99 = (1000 * outcome.percentile(percent) for percent in (50, 99))
    rows = sum(map(len, outcome.latencies.values())) / max(1, outcome.batches)
    print(f"{name:28} goodput {outcome.goodput(slo):7.1f}/s  p50 {p50:7.2f} ms  p99 {p99:7.2f} ms  {rows:5.1f} rows")


@pytest.mark.parametrize(
    ("seconds", "lengths", "rate", "slo"),
    [
        (cpu, (32, 32), 400, 0.1),
        (cpu, (8, 256), 100, 0.2),
        (gpu, (32, 32), 2000, 0.05),
        (gpu, (8, 256), 2000, 0.05),
    ],
    ids=["cpu-equal", "cpu-mixed", "gpu-equal", "gpu-mixed"],
)
def test_below_capacity(seconds: Seconds, lengths: tuple[int, int], rate: int, slo: float) -> None:
    """About as good as the best setting of a fixed wait, which is another one each time, or better; nobody is lost."""
    load = Load(rate, 5 if seconds is cpu else 1.5, lengths)
    ours = simulate(Springtide(Limits(ROWS, TOKENS, 0.005)), load, seconds)
    fixed = best_fixed_wait(load, seconds, slo)
    single = simulate(Springtide(Limits(1, TOKENS, 0)), load, seconds)
    print()
    for name, outcome in (("policy", ours), ("best fixed wait", fixed), ("no batches", single)):
        show(f"{seconds.__name__} {lengths} {name}", outcome, slo)
    assert ours.goodput(slo) >= 0.99 * max(fixed.goodput(slo), single.goodput(slo))
    assert ours.percentile(99) <= 1.1 * min(fixed.percentile(99), single.percentile(99))
    assert ours.refused == 0 and sum(map(len, ours.latencies.values())) == sum(ours.offered.values())


def test_idle_is_as_fast_as_a_single_row() -> None:
    ours = simulate(Springtide(Limits(ROWS, TOKENS, 0.005)), Load(5, 100, lengths=(32, 32)), gpu)
    assert ours.percentile(50) <= 1.06 * gpu(1, 32)


@pytest.mark.parametrize("seconds", [cpu, gpu], ids=["cpu", "gpu"])
def test_padding_is_bounded(seconds: Seconds) -> None:
    load = Load(150 if seconds is cpu else 10_000, 2, lengths=(8, 256))
    ours = simulate(Springtide(Limits(ROWS, TOKENS, 0)), load, seconds)
    naive = simulate(FixedWait(Limits(ROWS, TOKENS, 0)), load, seconds)
    print(f"\n{seconds.__name__} padded tokens: {ours.wasted:.0f}, without grouping {naive.wasted:.0f}")
    if seconds is cpu:
        assert ours.wasted < 0.4 * naive.wasted


def test_overload_keeps_the_goodput_the_best_class_and_the_memory() -> None:
    """Three times what the server can do, a fifth of it critical: 60 % of the capacity."""
    slo, lengths, shares = 0.5, (32, 32), (0.2, 0.5, 0.3)
    capacity = ROWS / cpu(ROWS, 32)
    rates = [0.8, 0.9, 0.95]
    peak = max(
        simulate(Springtide(Limits(ROWS, TOKENS, 0.005)), Load(part * capacity, 10, lengths, shares), cpu).goodput(slo)
        for part in rates
    )
    load = Load(3 * capacity, 10, lengths, shares, timeout=slo)
    ours = simulate(Springtide(Limits(ROWS, TOKENS, 0.005)), load, cpu)
    print(f"\npeak {peak:.1f}/s, at three times the capacity {ours.goodput(slo):.1f}/s, by class in time:", end=" ")
    print(*(f"{100 * ours.attainment(rank, slo):.1f} %" for rank in (0, 1, 2)))
    assert ours.goodput(slo) >= 0.95 * peak
    assert ours.attainment(0, slo) >= 0.99
    assert ours.depth <= 256


def slow(rows: int, longest: int) -> float:
    """MiniLM on one core: a full batch would take longer than what the answers are worth."""
    return 0.005 + 430e-6 * rows * longest


def test_overload_of_a_slow_server() -> None:
    slo, shares, capacity = 0.28, (0.1, 0.6, 0.3), 32 / slow(32, 32)
    assert slow(32, 32) > slo
    load = Load(3 * capacity, 12, (32, 32), shares, timeout=slo)
    ours = simulate(Springtide(Limits(32, TOKENS, 0.005)), load, slow)
    print(f"\ncapacity {capacity:.1f}/s, in time {ours.goodput(slo):.1f}/s, by class:", end=" ")
    print(*(f"{100 * ours.attainment(rank, slo):.1f} %" for rank in (0, 1, 2)))
    assert ours.goodput(slo) >= 0.9 * capacity
    assert ours.attainment(0, slo) >= 0.99


def test_deadlines_under_overload_waste_nothing() -> None:
    """Without them a full queue would make everybody late."""
    capacity = ROWS / cpu(ROWS, 32)
    load = Load(3 * capacity, 10, (32, 32), timeout=0.25)
    ours = simulate(Springtide(Limits(ROWS, TOKENS, 0.005), places=2000), load, cpu)
    print(f"\ncapacity {capacity:.1f}/s, in time {ours.goodput(0.25):.1f}/s, dropped {ours.expired}")
    assert ours.goodput(0.25) >= 0.9 * capacity
