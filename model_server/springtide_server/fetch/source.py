"""What a source of models is to the rest: it says what there is, and gives bytes."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import httpx2

from springtide_server.fetch.digests import Digest
from springtide_server.fetch.errors import Transient

# connecting, and the longest silence in an answer
TIMEOUT = httpx2.Timeout(60, connect=10)
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})


@dataclass(frozen=True)
class RemoteFile:
    """One file of a model.

    `content` names what is in it: files with the same name for it are the same, now and in every other listing.
    """

    path: str
    size: int
    content: str


@dataclass(frozen=True)
class Listing:
    """All that the model consists of at one time; `id` is another one as soon as a file differs."""

    id: str
    files: tuple[RemoteFile, ...]


# A file from the byte on that the number says, piece by piece.
Stream = tuple[int, Iterator[bytes]]


class Source(Protocol):
    """A model somewhere else. Its methods raise Transient when another try may do, and FetchError when none will."""

    name: str  # the URI, for people
    folder: str  # below the cache; the same for all that may share files
    revision: str  # what is followed, as a branch; `pinned` is the id of the listing where it can't change
    pinned: str | None

    def list(self) -> Listing:
        """What there is now."""

    def digest(self, file: RemoteFile) -> Digest:
        """What the source says that the file is."""

    def open(self, file: RemoteFile, offset: int) -> AbstractContextManager[Stream]:
        """The file's bytes from the offset on, or from an earlier one."""


def start_of(response: httpx2.Response) -> int:
    """Where the body of an answer begins in the file: not where it was asked to when the server knows no ranges."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found.group(1)) if response.status_code == 206 and found else 0


def transient(error: httpx2.TransportError) -> Transient:
    """What to say about a connection that failed."""
    if isinstance(error, httpx2.TimeoutException):
        return Transient("no answer in time")
    return Transient(str(error) or type(error).__name__)
