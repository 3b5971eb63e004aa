"""What the log says while bytes come: a line each five seconds, never more."""

import logging
import threading
import time

INTERVAL = 5.0
log = logging.getLogger(__name__)


def in_words(size: float) -> str:
    """A number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


class Progress:
    """Counts bytes of all threads between `with` and its end, and logs how far it is."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self.received = total, 0, 0
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._started = time.monotonic()

    def __enter__(self) -> "Progress":
        threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started

    def add(self, size: int, *, received: bool = True) -> None:
        """So many bytes are there now; fewer than before when they were thrown away."""
        with self._lock:
            self._done += size
            self.received += size if received else 0

    def _tell(self) -> None:
        before = 0
        while not self._ended.wait(INTERVAL):
            with self._lock:
                done, received = self._done, self.received
            rate = (received - before) / INTERVAL
            before = received
            percent = 100 * done / self._total if self._total else 100
            log.info(
                f"{in_words(done)} of {in_words(self._total)} ({percent:.0f} %), {in_words(rate)}/s",
                extra={"fields": {"bytes": done, "total": self._total, "percent": round(percent), "rate": round(rate)}},
            )
