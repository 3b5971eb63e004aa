"""The kinds of failure: those that people must mend, those that may pass, and single tries that failed."""

import errno
import os
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time

SECRET = "the Secret named by model.credentialsSecretName"  # noqa: S105 (what people are told, not a secret)


class FetchError(Exception):
    """It will fail again until somebody changes something; the message is one line that says what."""


class Unavailable(Exception):
    """It failed often enough, but a later start may do; the message is one line."""


class Transient(Exception):
    """One try failed; another one may do, not earlier than in `retry_after` seconds where the server said so."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date; None when it says nothing usable."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


def from_disk(error: OSError, cache: Path) -> FetchError | Unavailable:
    """What to do about an error of the cache's file system."""
    reason = error.strerror or str(error)
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return FetchError(
                f"no space left on {cache}; enlarge the claim named by cache.claimName or delete models there"
            )
        case errno.EROFS:
            return FetchError(f"{cache} is read-only; mount the cache writable for this container")
        case errno.EACCES | errno.EPERM:
            where = error.filename or cache
            return FetchError(f"user {os.getuid()} can't write {where}; give that user or its fsGroup the cache volume")
        case errno.ENAMETOOLONG | errno.ENOTDIR | errno.EISDIR | errno.EEXIST | errno.ELOOP:
            return FetchError(f"{error.filename or cache}: {reason}; delete what is in the way, or correct the names")
    return Unavailable(f"{error.filename or cache}: {reason}")
