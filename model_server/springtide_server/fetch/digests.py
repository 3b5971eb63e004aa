"""The digests that stores state of their files, computed piece by piece."""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from awscrt import checksums

Algorithm = Literal["sha256", "git-sha1", "sha1", "md5", "crc64nvme", "crc32c", "crc32", "size"]


@dataclass(frozen=True)
class Digest:
    """What a file must be: the algorithm and its value in hexadecimal; of `size` only the length is known."""

    algorithm: Algorithm
    value: str


class Hasher(Protocol):
    """Takes a file piece by piece."""

    def update(self, data: bytes, /) -> None:
        """Take the next piece."""

    def hexdigest(self) -> str:
        """The value of all that was taken."""


class _Crc:
    """A cyclic redundancy check of so many bits, by a function that goes on from an earlier value."""

    def __init__(self, function: Callable[[bytes, int], int], bits: int) -> None:
        self._function, self._digits, self._value = function, bits // 4, 0

    def update(self, data: bytes, /) -> None:
        self._value = self._function(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:0{self._digits}x}"


class _Nothing:
    """For files of which nothing but the size is known."""

    def update(self, data: bytes, /) -> None:
        pass

    def hexdigest(self) -> str:
        return ""


def hasher(algorithm: Algorithm, size: int) -> Hasher:
    """A hasher for a file of this size (git hashes the size too)."""
    match algorithm:
        case "sha256":
            return hashlib.sha256()
        case "git-sha1":
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "md5":
            return hashlib.md5(usedforsecurity=False)
        case "crc64nvme":
            return _Crc(checksums.crc64nvme, 64)
        case "crc32c":
            return _Crc(checksums.crc32c, 32)
        case "crc32":
            return _Crc(zlib.crc32, 32)
        case "size":
            return _Nothing()
