"""What is known of the memory of this process."""

import subprocess
import sys

import pytest

from springtide_server.engine.memory import HostMemory, is_out_of_memory


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


PEAKS = """
from springtide_server.engine.memory import measured

memory = measured(None, 90)
memory.begin()
peaks = [memory.peak()]
block = bytearray(b"x") * (100 << 20)
peaks.append(memory.peak())
del block
peaks.append(memory.peak())
memory.begin()
peaks.append(memory.peak())
print(*peaks)
"""


def test_the_peak_of_a_batch_is_seen_and_forgotten() -> None:
    """In a process of its own, in which nothing else gives memory back."""
    said = subprocess.run([sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True).stdout.split()
    if "None" in said:
        pytest.skip("this system doesn't let a process reset its peak")
    before, held, freed, after = map(int, said)
    assert held - before > 90 << 20
    assert freed - before > 90 << 20
    assert after - before < 50 << 20


def test_a_smaller_part_of_the_memory_leaves_less() -> None:
    half, most = HostMemory(50).available(), HostMemory(95).available()
    assert half < most < 1 << 50
    assert most > 0
