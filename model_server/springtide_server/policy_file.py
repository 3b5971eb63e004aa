"""Watches the file of the runtime policy, and has what it says acted on.

A ConfigMap volume is a folder of links, which the kubelet replaces all at once. So the content is read again and again,
and no event is waited for.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge

from springtide_server.policy import RuntimePolicy, parse

PERIOD_SECONDS = 1.0
MAX_BYTES = 1 << 20  # what a ConfigMap holds at most

log = logging.getLogger(__name__)


class PolicyFile:
    """One file. While it is wrong, or away after it was there, the last good content acts."""

    def __init__(
        self, path: Path, base: RuntimePolicy, apply: Callable[[RuntimePolicy], None], registry: CollectorRegistry
    ) -> None:
        """`base` is what acts where the file says nothing; `apply` is called with each new policy."""
        self._path, self._base, self._apply = path, base, apply
        self._seen: bytes | str | None = None  # content, or why there is none
        self._valid = Gauge(
            "springtide_policy_valid", "Whether what the policy file says now is what acts.", registry=registry
        )
        self._info = Gauge(
            "springtide_policy_info", "1, for the content that acts, by its SHA-256.", ["hash"], registry=registry
        )
        self._valid.set(1)

    def look(self) -> None:
        """Read the file once."""
        self._take(self._read())

    async def watch(self) -> None:
        """Read the file again and again."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                # A file system may be slow, and requests must not wait for it.
                self._take(await asyncio.to_thread(self._read))
            except Exception:
                log.exception("the policy file could not be acted on")

    def _read(self) -> bytes | str | None:
        """The content, or why it can't be had; None for a file that was never there."""
        try:
            with self._path.open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None if self._seen is None else "the file is gone"
        except OSError as error:
            return f"can't be read: {error.strerror or error}"

    def _take(self, content: bytes | str | None) -> None:
        if content == self._seen:
            return
        self._seen = content
        try:
            policy = self._parsed(content)
        except ValueError as error:
            self._valid.set(0)
            fields = {"file": str(self._path), "reason": str(error)}
            log.error("the policy file changes nothing until it is right", extra={"fields": fields})
            return
        self._apply(policy)
        digest = hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else ""
        self._valid.set(1)
        self._info.clear()
        self._info.labels(digest[:12]).set(1)
        log.info("the policy file acts", extra={"fields": {"file": str(self._path), "hash": digest[:12]}})

    def _parsed(self, content: bytes | str | None) -> RuntimePolicy:
        if not isinstance(content, bytes):
            raise ValueError(content)
        if len(content) > MAX_BYTES:
            raise ValueError(f"the file: has more than {MAX_BYTES} bytes")
        return parse(content, self._base)
