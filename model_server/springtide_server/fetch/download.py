"""Brings files from a source into the store: several at once, each resumed where it ended, each checked."""

import logging
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from threading import Event
from typing import IO

from springtide_server.fetch.digests import Algorithm, Digest, Hasher, hasher
from springtide_server.fetch.errors import FetchError, Transient
from springtide_server.fetch.progress import Progress, in_words
from springtide_server.fetch.retry import Stopped, Tries
from springtide_server.fetch.source import RemoteFile, Source
from springtide_server.fetch.store import Store

AT_ONCE = 4
PIECE = 1 << 20
# So much must have come since the last failure for it to be forgotten.
ENOUGH = 1 << 20
log = logging.getLogger(__name__)


class Download:
    """One fetch of some files; the store's lock is held meanwhile."""

    def __init__(self, source: Source, store: Store, attempts: int, progress: Progress) -> None:
        self._source, self._store, self._attempts, self._progress = source, store, attempts, progress
        self._stop = Event()

    def all(self, files: Sequence[RemoteFile]) -> Counter[Algorithm]:
        """Fetch them; by which algorithm how many were checked. The first failure ends all."""
        self._store.blobs.mkdir(parents=True, exist_ok=True)
        checked: Counter[Algorithm] = Counter()
        threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="fetch")
        # The largest first: the end would otherwise wait for one that began last.
        futures = [threads.submit(self._fetch, file) for file in sorted(files, key=lambda file: -file.size)]
        try:
            for future in as_completed(futures):
                checked[future.result().algorithm] += 1
        except BaseException:
            self._stop.set()
            raise
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
        return checked

    def _fetch(self, file: RemoteFile) -> Digest:
        digest = self._tries(file).call(lambda: self._source.digest(file))
        partial = self._store.partial(file)
        for last in (False, True):
            found = self._fill(file, digest.algorithm)
            if found == digest.value:
                partial.replace(self._store.blob(file))
                return digest
            partial.unlink()
            difference = f"{file.path} has {digest.algorithm} {found}, but {digest.value} is stated"
            if not last:
                self._progress.add(-file.size, received=False)
                log.warning(f"{self._source.name}: {difference}; fetching it again", extra=_about(file))
        raise FetchError(
            f"{self._source.name}: {difference}, and so twice; the file is damaged in the store or on the way:"
            " upload it again, or look at proxies in between"
        )

    def _fill(self, file: RemoteFile, algorithm: Algorithm) -> str:
        """Fetch what is missing of the file; the digest of all of it."""
        with self._store.partial(file).open("a+b") as out:
            digest, done = hasher(algorithm, file.size), 0
            if 0 < os.fstat(out.fileno()).st_size <= file.size:
                done = _reread(out, digest)
                log.info(f"resuming {file.path} at {in_words(done)} of {in_words(file.size)}", extra=_about(file))
                self._progress.add(done, received=False)
            else:
                out.truncate(0)
            tries, failed_at = self._tries(file), done
            while done < file.size:
                try:
                    with self._source.open(file, done) as (start, pieces):
                        if start != done:  # the server knows no ranges
                            out.truncate(0)
                            self._progress.add(-done, received=False)
                            digest, done, failed_at = hasher(algorithm, file.size), 0, 0
                        for piece in pieces:
                            if self._stop.is_set():
                                raise Stopped
                            done += len(piece)
                            out.write(piece)
                            digest.update(piece)
                            self._progress.add(len(piece))
                    if done < file.size:
                        raise Transient("the connection ended early")
                except Transient as error:
                    out.flush()
                    if done - failed_at > ENOUGH:
                        tries.progressed()
                    failed_at = done
                    tries.failed(error)
            out.flush()
            os.fsync(out.fileno())
        return digest.hexdigest() if done == file.size else f"of {done} bytes instead of {file.size}"

    def _tries(self, file: RemoteFile) -> Tries:
        return Tries(f"{self._source.name}: {file.path}", self._attempts, self._stop)


def _reread(file: IO[bytes], digest: Hasher) -> int:
    file.seek(0)
    size = 0
    while piece := file.read(PIECE):
        digest.update(piece)
        size += len(piece)
    return size


def _about(file: RemoteFile) -> dict[str, object]:
    return {"fields": {"file": file.path, "size": file.size}}
