"""What one user wrote, read from an API server's audit log while that grows."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


class Audit:
    """Counts the writes of one user by verb and resource. Leases don't count: they are renewed for ever."""

    def __init__(self, path: Path, user: str) -> None:
        """Begin at the present end of the log."""
        self._path = path
        self._user = json.dumps({"username": user}, separators=(",", ":"))[1:-1].encode()
        self._file = path.open("rb")
        self._file.seek(0, 2)
        self._writes: Counter[str] = Counter()

    def read(self) -> Counter[str]:
        """Read on to the end of the log; return all that was counted so far."""
        while True:
            self._count()
            if self._path.stat().st_ino == Path(f"/proc/self/fd/{self._file.fileno()}").stat().st_ino:
                return self._writes.copy()
            self._count()  # what came before the log was rotated
            self._file.close()
            self._file = self._path.open("rb")

    def close(self) -> None:
        """Close the log."""
        self._file.close()

    def _count(self) -> None:
        while (line := self._file.readline()).endswith(b"\n"):
            # few lines of many: only those are parsed
            if self._user in line:
                self._add(json.loads(line))
        self._file.seek(-len(line), 1)  # a line that is still being written

    def _add(self, event: dict[str, object]) -> None:
        target = event.get("objectRef")
        if event["stage"] != "ResponseComplete" or event["verb"] not in _WRITES or not isinstance(target, dict):
            return
        if target["resource"] != "leases":
            resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
            self._writes[f"{event['verb']} {resource}"] += 1
