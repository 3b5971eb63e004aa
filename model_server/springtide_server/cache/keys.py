"""What makes two results equal, and how an entry shows that it is what was asked for. Pure.

A key covers all that a result depends on: the model's content, the numbers it computes with, our own version, the
parameters, the tokens (so texts are compared as the model sees them) and the tenant.
"""

import hashlib
import json
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

FORMAT = 1  # of keys and entries: another one finds nothing of this one
SEAL_BYTES = 16
JITTER = 0.1


@dataclass(frozen=True)
class Identity:
    """Who computes: results of two servers with the same identity are interchangeable."""

    release: str
    """Of this software."""
    revision: str
    """Of the model."""
    precision: str


def keys(identity: Identity, tenant: str, parameters: Any, rows: Iterable[list[int]]) -> list[bytes]:
    """A key of 32 bytes for each row of tokens; `parameters` is anything JSON can hold."""
    about = [FORMAT, identity.release, identity.revision, identity.precision, tenant, parameters]
    start = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    start.update(b"\0")  # JSON has none: where it ends is beyond doubt
    found = []
    for row in rows:
        one = start.copy()
        one.update(array("Q", row).tobytes())
        found.append(one.digest())
    return found


def seal(key: bytes, payload: bytes) -> bytes:
    """An entry: the payload after a checksum of it under its key."""
    return _checksum(key, payload) + payload


def unseal(key: bytes, entry: bytes) -> bytes | None:
    """The payload; None when the entry isn't whole, or is another key's."""
    payload = entry[SEAL_BYTES:]
    return payload if entry[:SEAL_BYTES] == _checksum(key, payload) else None


def _checksum(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, key=key, digest_size=SEAL_BYTES).digest()


def lifetime_milliseconds(seconds: float, random: float) -> int:
    """Within JITTER of the wanted one, by a random number from 0 to 1: entries of one moment don't all end at one."""
    return max(1, round(1000 * seconds * (1 + JITTER * (2 * random - 1))))
