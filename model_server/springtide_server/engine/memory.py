"""How much memory a batch may still take, and how much one took. torch is imported only where there is a GPU."""

import os
import time
from pathlib import Path
from typing import Any, Protocol

from springtide_server import cgroup

READ_AGAIN_SECONDS = 0.25  # a handful of files, or a call into the driver
SELF = Path("/proc/self")
PAGE = os.sysconf("SC_PAGE_SIZE")
# torch's allocator for the CPU raises RuntimeError.
SAID = ("can't allocate memory", "not enough memory", "out of memory")


class Memory(Protocol):
    """Of the device that the model is on; bytes."""

    percent: int
    """Of the device or the limit, which may be used."""

    def available(self) -> float:
        """What the next batch may use beyond what the model itself holds."""
        ...

    def begin(self) -> None:
        """A batch begins."""
        ...

    def peak(self) -> int | None:
        """The most that was in use since, beyond what the model itself holds; None where that isn't known."""
        ...

    def give_back(self) -> None:
        """Free what is kept for later: memory ran out."""
        ...


def measured(device: Any, percent: int) -> Memory:
    """Of a torch device, of which `percent` may be used. To be called when the model is loaded and warm."""
    return CudaMemory(device, percent) if getattr(device, "type", "cpu") == "cuda" else HostMemory(percent)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch could work."""
    if isinstance(error, MemoryError) or any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in SAID)


class HostMemory:
    """Of the cgroup, or of the machine where the cgroup has no limit."""

    def __init__(self, percent: int) -> None:
        self.percent = percent
        self._base = _resident()
        self._read_at, self._available = -READ_AGAIN_SECONDS, 0.0

    def available(self) -> float:
        """Pages that an allocator keeps for the next batch are available, like free ones."""
        if time.monotonic() - self._read_at >= READ_AGAIN_SECONDS:
            self._read_at = time.monotonic()
            limit, used = cgroup.memory_limit(), cgroup.memory_usage()
            if limit is None or used is None:
                limit, free = _machine()
                used = limit - free
            else:
                used -= cgroup.memory_reclaimable()
            kept = max(0, _resident() - self._base)
            self._available = limit * self.percent / 100 - used + kept
        return self._available

    def begin(self) -> None:
        """The kernel is told to forget the peak so far."""
        try:
            (SELF / "clear_refs").write_text("5")
            self._reset = True
        except OSError:  # not allowed in some sandboxes: then nothing is learned, and the prior holds
            self._reset = False

    def peak(self) -> int | None:
        """The largest resident size."""
        if not self._reset:
            return None
        for line in (SELF / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return max(0, int(line.split()[1]) * 1024 - self._base)
        return None

    def give_back(self) -> None:
        """There is nothing that we keep."""
        self._read_at = -READ_AGAIN_SECONDS


class CudaMemory:
    """Of one GPU, by the driver and torch's caching allocator."""

    def __init__(self, device: Any, percent: int) -> None:
        import torch

        self._cuda, self._device, self.percent = torch.cuda, device, percent
        self._base = torch.cuda.memory_allocated(device)
        self._read_at, self._available = -READ_AGAIN_SECONDS, 0.0

    def available(self) -> float:
        """What the allocator keeps for the next batch is available, like what the driver has."""
        if time.monotonic() - self._read_at >= READ_AGAIN_SECONDS:
            self._read_at = time.monotonic()
            free, total = self._cuda.mem_get_info(self._device)
            kept = self._cuda.memory_reserved(self._device) - self._base
            self._available = free + kept - total * (100 - self.percent) / 100
        return self._available

    def begin(self) -> None:
        """The allocator is told to forget the peak so far."""
        self._cuda.reset_peak_memory_stats(self._device)

    def peak(self) -> int | None:
        """Of tensors, not of blocks kept for them."""
        return max(0, int(self._cuda.max_memory_allocated(self._device)) - self._base)

    def give_back(self) -> None:
        """Blocks too small for what is asked can be in the way."""
        self._cuda.empty_cache()
        self._read_at = -READ_AGAIN_SECONDS


def _resident() -> int:
    return int((SELF / "statm").read_text().split()[1]) * PAGE


def _machine() -> tuple[int, int]:
    """Bytes in all, and available."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    values = {words[0]: int(words[1]) * 1024 for words in lines}
    return values["MemTotal:"], values["MemAvailable:"]
