"""Events of ModelServices. They are told once: the same one again counts, and never does one fail a reconcile."""

import hashlib
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from springtide.api.base import GROUP
from springtide.api.errors import Conflict, SpringtideError
from springtide.clients.cluster import EVENT, MODEL_SERVICE, Object, Objects
from springtide.controllers.cache import Entry, Written
from springtide.status.events import Note, notes

logger = logging.getLogger(__name__)

# A service that comes and goes tells so once a minute.
_QUIET_SECONDS = 60.0
_LONGEST = 1024  # of a note, by the API


class Recorder:
    """Writes the Events of status changes."""

    def __init__(self, objects: Objects, clock: Callable[[], float] = time.monotonic) -> None:
        self._objects = objects
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}
        self._instance = os.environ.get("HOSTNAME") or socket.gethostname()

    async def record(self, entry: Entry[Written], status: Mapping[str, Any], now: str) -> None:
        """Tell what the new status has that the one before did not; `now` is in RFC 3339, in seconds."""
        self._told = {key: at for key, at in self._told.items() if self._clock() - at < _QUIET_SECONDS}
        for note in notes(entry.value.status, status):
            key = (entry.uid, note.reason)
            if key in self._told:
                continue
            self._told[key] = self._clock()
            try:
                await self._write(self._event(entry, note, now))
            except SpringtideError as error:
                logger.info("the Event %s could not be written: %s", note.reason, error)

    async def _write(self, event: Object) -> None:
        try:
            await self._objects.create(EVENT, event)
        except Conflict:
            metadata = event["metadata"]
            live = await self._objects.get(EVENT, metadata["namespace"], metadata["name"])
            if live is not None:
                count = (live.get("series") or {}).get("count", 1) + 1
                live["series"] = {"count": count, "lastObservedTime": event["eventTime"]}
                await self._objects.update(EVENT, live)

    def _event(self, entry: Entry[Written], note: Note, now: str) -> Object:
        namespace, name = entry.name
        same = hashlib.sha256(f"{entry.uid} {note.reason} {note.text}".encode()).hexdigest()[:16]
        return {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{name}.{same}", "namespace": namespace},
            "eventTime": f"{now.removesuffix('Z')}.000000Z",
            "reportingController": f"{GROUP}/operator",
            "reportingInstance": self._instance,
            "action": "Reconcile",
            "type": note.type,
            "reason": note.reason,
            "note": note.text[:_LONGEST],
            "regarding": {
                "apiVersion": MODEL_SERVICE.api_version,
                "kind": MODEL_SERVICE.kind,
                "namespace": namespace,
                "name": name,
                "uid": entry.uid,
            },
        }
