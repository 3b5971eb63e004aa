"""Blocks of the KV cache: who holds which, and which hold the beginning of a prompt that may come again.

No tensors here: a block is a number. Full blocks get a digest, chained over all tokens before them, so that equal
beginnings share blocks (vLLM, "automatic prefix caching"). Blocks that nobody holds keep their content until they are
needed for something else, the one longest unused first; with `host` blocks their content moves there first, and comes
back when it is asked for again.
"""

import hashlib
import os
from array import array
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# Keyed anew in each process, so that nobody can prepare two prompts with the same digest.
KEY = os.urandom(16)


def digest(before: bytes, tokens: Sequence[int]) -> bytes:
    """Of a block's tokens and all before them."""
    return hashlib.blake2b(before + array("q", tokens).tobytes(), digest_size=16, key=KEY).digest()


class Copy(NamedTuple):
    """Of a block's content, to the host or back."""

    block: int
    slot: int  # the host's block
    to_host: bool


class BlockPool:
    """`count` blocks of `size` tokens on the device, and `host` more in the host's memory for what isn't in use."""

    def __init__(self, count: int, size: int, host: int = 0, share: bool = True) -> None:
        self.count, self.size, self.share = count, size, share
        self.copies: list[Copy] = []
        """To be made in this order before the next step."""
        self._holders = [0] * count
        self._digests: list[bytes | None] = [None] * count
        self._by_digest: dict[bytes, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict(
            (block, None) for block in range(count)
        )  # the next to go first
        self._host_free = list(range(host))
        self._host: OrderedDict[bytes, int] = OrderedDict()  # the longest unused first

    @property
    def free(self) -> int:
        """Blocks that can be allocated."""
        return len(self._idle)

    @property
    def usage(self) -> float:
        """The part that is held, 0 to 1."""
        return 1 - len(self._idle) / self.count

    def blocks(self, tokens: int) -> int:
        """Blocks for so many tokens."""
        return -(-tokens // self.size)

    def find(self, digests: Iterable[bytes]) -> list[int]:
        """Hold the blocks of the longest known beginning."""
        found: list[int] = []
        for name in digests:
            block = self._by_digest.get(name)
            if block is not None:
                self._hold(block)
            elif name in self._host and self._idle:
                slot = self._host.pop(name)
                (block,) = self.allocate(1)
                self.copies.append(Copy(block, slot, to_host=False))
                self._host_free.append(slot)
                self._name(block, name)
            else:
                break
            found.append(block)
        return found

    def allocate(self, count: int) -> list[int]:
        """Hold so many blocks with nothing in them; there have to be as many free."""
        taken = []
        for _ in range(count):
            block, _ = self._idle.popitem(last=False)
            if (old := self._digests[block]) is not None:
                self._spill(block, old)
                del self._by_digest[old]
                self._digests[block] = None
            self._holders[block] = 1
            taken.append(block)
        return taken

    def release(self, blocks: Sequence[int]) -> None:
        """Hold them no more. The end of a sequence is used up before its beginning."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block] == 0:
                self._idle[block] = None
                if self._digests[block] is None:
                    self._idle.move_to_end(block, last=False)

    def publish(self, block: int, name: bytes) -> None:
        """The block is full and computed: others may share it."""
        if self.share and name not in self._by_digest and self._digests[block] is None:
            self._name(block, name)

    def _name(self, block: int, name: bytes) -> None:
        self._digests[block] = name
        self._by_digest[name] = block

    def _hold(self, block: int) -> None:
        self._holders[block] += 1
        self._idle.pop(block, None)

    def _spill(self, block: int, name: bytes) -> None:
        if not self._host_free and self._host:
            self._host_free.append(self._host.popitem(last=False)[1])
        if self._host_free:
            slot = self._host[name] = self._host_free.pop()
            self.copies.append(Copy(block, slot, to_host=True))
