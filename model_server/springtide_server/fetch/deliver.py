"""A fetch from its beginning to the link that the server loads."""

import logging
import shutil
from pathlib import Path
from threading import Event
from typing import IO

from springtide_server.fetch.download import Download
from springtide_server.fetch.errors import FetchError, Unavailable
from springtide_server.fetch.lock import acquire
from springtide_server.fetch.progress import Progress, in_words
from springtide_server.fetch.retry import Tries
from springtide_server.fetch.source import Listing, Source
from springtide_server.fetch.store import Store, replace_link

# With a copy at hand a start doesn't wait long for a source that is away.
ATTEMPTS_WITH_COPY = 2
log = logging.getLogger(__name__)


class Delivery:
    """Brings what a source holds into the cache and points the link to it."""

    def __init__(self, source: Source, cache: Path, link: str, attempts: int) -> None:
        self._source, self._cache, self._attempts = source, cache, attempts
        self._link = cache / "links" / link
        self._store = Store(cache / source.folder)
        self._lock: IO[str] | None = None  # held until the process ends: threads may outlive a failure

    def run(self) -> None:
        """Do it; raises FetchError, Unavailable, or the cache's OSError."""
        name, pinned = self._source.name, self._source.pinned
        if pinned and self._store.complete(pinned) is not None:
            log.info("complete in the cache; nothing was asked for", extra=_about(name, pinned))
            self._point(pinned)
            return
        copy = self._store.last(self._source.revision)
        try:
            id = self._fetch(min(self._attempts, ATTEMPTS_WITH_COPY) if copy else self._attempts)
        except Unavailable as error:
            if copy is None:
                raise
            log.warning(f"{error}; using the verified copy in the cache", extra=_about(name, copy))
            id = copy
        self._point(id)

    def _fetch(self, attempts: int) -> str:
        """Bring the newest version into the cache, unless it is there."""
        listing = Tries(self._source.name, attempts, Event()).call(self._source.list)
        if self._store.complete(listing.id) is None:
            lock = self._cache / "locks" / f"{self._source.folder.replace('/', '--')}.lock"
            self._lock = acquire(lock, self._source.name)
        if (files := self._store.complete(listing.id)) is None:
            self._download(listing)
        else:
            about = _about(self._source.name, listing.id)
            log.info(f"complete in the cache ({files} files); no file was fetched", extra=about)
        if not self._source.pinned:
            self._store.follow(self._source.revision, listing.id)
        return listing.id

    def _download(self, listing: Listing) -> None:
        # Files with the same content are fetched once.
        contents = {file.content: file for file in listing.files}.values()
        missing = [file for file in contents if not self._store.has(file)]
        total, needed = sum(file.size for file in contents), sum(file.size for file in missing)
        log.info(
            f"{len(listing.files)} files, {in_words(total)}, {in_words(total - needed)} in the cache",
            extra=_about(self._source.name, listing.id, files=len(listing.files), bytes=total, cached=total - needed),
        )
        begun = sum(partial.stat().st_size for partial in map(self._store.partial, missing) if partial.exists())
        self._check_space(needed - begun)
        with Progress(needed) as progress:
            checked = Download(self._source, self._store, self._attempts, progress).all(missing)
        self._store.publish(self._source.name, listing)
        rate = progress.received / max(progress.seconds, 0.001)
        verified = ", ".join(f"{count} by {algorithm}" for algorithm, count in checked.most_common())
        log.info(
            f"fetched {in_words(progress.received)} in {progress.seconds:.1f} s ({in_words(rate)}/s);"
            f" verified: {verified or 'nothing was missing'}",
            extra=_about(self._source.name, listing.id, bytes=progress.received, verified=dict(checked)),
        )

    def _check_space(self, needed: int) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        usage = shutil.disk_usage(self._cache)
        if usage.total and usage.free < needed:  # some network volumes say 0 of everything
            raise FetchError(
                f"no space left on {self._cache}: {self._source.name} needs {in_words(needed)},"
                f" {in_words(usage.free)} are free; enlarge the claim named by cache.claimName or delete models there"
            )

    def _point(self, id: str) -> None:
        self._link.parent.mkdir(parents=True, exist_ok=True)
        replace_link(self._link, self._store.snapshot(id))
        log.info("ready", extra=_about(self._source.name, id, link=str(self._link)))


def _about(uri: str, id: str, **more: object) -> dict[str, object]:
    return {"fields": {"uri": uri, "revision": id, **more}}
