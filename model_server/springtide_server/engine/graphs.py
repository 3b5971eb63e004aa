"""Steps in which every sequence computes one token, recorded as CUDA graphs: a launch instead of thousands."""

import bisect
from collections.abc import Callable, Sequence

import torch

from springtide_server.engine.attention import Paged
from springtide_server.engine.kv import KVCache

SIZES = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
Forward = Callable[[torch.Tensor, torch.Tensor, Paged], torch.Tensor]
"""(tokens [1, n], positions [1, n], step) → logits [n, vocabulary]."""


class DecodeGraphs:
    """One graph for each size of a batch; smaller batches are filled up with sequences that nobody reads."""

    def __init__(self, forward: Forward, cache: KVCache, sequences: int, width: int) -> None:
        """Record for up to so many sequences of at most `width` blocks each."""
        self.sizes = [*(size for size in SIZES if size < sequences), sequences]
        device = cache.layers[0].device
        most = self.sizes[-1]
        self._ids = torch.zeros((1, most), dtype=torch.long, device=device)
        self._positions = torch.zeros((1, most), dtype=torch.long, device=device)
        self._slots = torch.full((most,), cache.trash * cache.size, dtype=torch.long, device=device)
        self._tables = torch.full((most, width), cache.trash, dtype=torch.int32, device=device)
        self._lengths = torch.ones(most, dtype=torch.long, device=device)
        self._trash, self._trash_slot = cache.trash, cache.trash * cache.size
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._logits: dict[int, torch.Tensor] = {}
        pool = None
        for size in reversed(self.sizes):  # the largest first: the others use its memory again
            paged = Paged(self._slots[:size], self._tables[:size], self._lengths[:size], cache.size, [], None)
            arguments = self._ids[:, :size], self._positions[:, :size], paged
            forward(*arguments)  # compiles kernels, which can't be recorded
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                self._logits[size] = forward(*arguments)
            pool = pool or graph.pool()
            self._graphs[size] = graph

    def __call__(
        self, ids: Sequence[int], positions: Sequence[int], slots: Sequence[int], tables: Sequence[Sequence[int]]
    ) -> torch.Tensor:
        """Logits [sequences, vocabulary] of one token each; they are overwritten by the next call."""
        count = len(ids)
        size = self.sizes[bisect.bisect_left(self.sizes, count)]
        spare = size - count
        width = max(map(len, tables))
        rows = [[*blocks, *[self._trash] * (width - len(blocks))] for blocks in tables]
        rows += [[self._trash] * width] * spare
        self._fill(self._ids[0], [*ids, *[0] * spare])
        self._fill(self._positions[0], [*positions, *[0] * spare])
        self._fill(self._slots, [*slots, *[self._trash_slot] * spare])
        self._fill(self._lengths, [*(place + 1 for place in positions), *[1] * spare])
        flat = torch.tensor(rows, dtype=torch.int32).pin_memory()
        self._tables[:size, :width].copy_(flat, non_blocking=True)
        self._graphs[size].replay()
        return self._logits[size][:count]

    @staticmethod
    def _fill(where: torch.Tensor, values: Sequence[int]) -> None:
        where[: len(values)].copy_(torch.tensor(values).pin_memory(), non_blocking=True)
