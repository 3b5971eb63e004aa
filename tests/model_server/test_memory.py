"""What is known of the memory of this process."""

import pytest

from springtide_server.engine.memory import HostMemory, is_out_of_memory, measured


class OutOfMemoryError(RuntimeError):
    """torch's, without torch."""


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("anything"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("The size of tensor a (4) must match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_a_smaller_batch_could_cure(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) is is_memory


def test_the_peak_of_a_batch_is_seen_and_forgotten() -> None:
    memory = measured(None, 90)
    assert isinstance(memory, HostMemory)
    memory.begin()
    if (before := memory.peak()) is None:
        pytest.skip("this system doesn't let a process reset its peak")
    block = bytearray(b"x") * (100 << 20)
    assert memory.peak() - before > 90 << 20  # type: ignore[operator]
    del block
    assert memory.peak() - before > 90 << 20  # type: ignore[operator]
    memory.begin()
    assert memory.peak() - before < 50 << 20  # type: ignore[operator]


def test_a_smaller_part_of_the_memory_leaves_less() -> None:
    half, most = HostMemory(50).available(), HostMemory(95).available()
    assert half < most < 1 << 50
    assert most > 0
