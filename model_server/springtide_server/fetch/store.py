"""The cache of one model on disk, in the layout of huggingface_hub.

    blobs/CONTENT             a file's bytes, complete and checked; CONTENT.incomplete while they come
    snapshots/ID/PATH         a symlink to a blob: the folder that a server loads
    refs/REVISION             the ID that a branch had when it was last looked at
    records/ID.json           written last: what the snapshot consists of

A blob gets its name only after it was checked, and a record its name only after all blobs of it: what was interrupted
never looks complete.
"""

import json
import os
import uuid
from contextlib import suppress
from pathlib import Path

from springtide_server.fetch.source import Listing, RemoteFile


class Store:
    """The folder of one model below the cache; its lock must be held by who calls `publish` or writes blobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = folder / "blobs"

    def snapshot(self, id: str) -> Path:
        """The folder that a server loads."""
        return self.folder / "snapshots" / id

    def blob(self, file: RemoteFile) -> Path:
        """Where the file's bytes are once they are complete and checked."""
        return self.blobs / file.content

    def partial(self, file: RemoteFile) -> Path:
        """Where they are before."""
        return self.blobs / f"{file.content}.incomplete"

    def has(self, file: RemoteFile) -> bool:
        """Whether the file's bytes are there; they were checked when they came, so only the size is looked at."""
        return _size(self.blob(file)) == file.size

    def complete(self, id: str) -> int | None:
        """How many files the snapshot has, if it was published and all of them are still there."""
        try:
            files = json.loads(self._record(id).read_text(encoding="utf-8"))["files"]
            whole = all(_size(self.snapshot(id) / file["path"]) == file["size"] for file in files)
            return len(files) if whole else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def last(self, revision: str) -> str | None:
        """The snapshot that the branch had when it was last looked at, if it is complete."""
        try:
            id = (self.folder / "refs" / revision).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return None
        return id if self.complete(id) is not None else None

    def publish(self, uri: str, listing: Listing) -> None:
        """Make the snapshot of files that are all there, and drop what was begun of versions never finished."""
        for file in listing.files:
            path = self.snapshot(listing.id) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_link(path, self.blob(file))
        files = [{"path": file.path, "size": file.size} for file in listing.files]
        record = {"uri": uri, "id": listing.id, "files": files}
        write(self._record(listing.id), json.dumps(record, indent=1))
        for partial in self.blobs.glob("*.incomplete"):
            partial.unlink(missing_ok=True)

    def follow(self, revision: str, id: str) -> None:
        """Note what the branch is now."""
        path = self.folder / "refs" / revision
        with suppress(OSError, ValueError):
            if path.read_text(encoding="utf-8") == id:
                return
        write(path, id)

    def _record(self, id: str) -> Path:
        return self.folder / "records" / f"{id}.json"


def replace_link(path: Path, target: Path) -> None:
    """Make a relative symlink, or turn one to the target, so that it always leads somewhere."""
    relative = os.path.relpath(target, path.parent)
    with suppress(OSError):
        if str(path.readlink()) == relative:
            return
    fresh = _beside(path)
    fresh.symlink_to(relative)
    fresh.replace(path)


def write(path: Path, text: str) -> None:
    """Write a small file whole or not at all, also when the machine goes down meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(path)
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _beside(path: Path) -> Path:
    # not by the process id, which is 1 in every container
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
