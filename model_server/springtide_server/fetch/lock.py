"""One fetch of a model at a time on a volume, whichever pods there are."""

import fcntl
import logging
import time
from pathlib import Path
from typing import IO

POLL = 0.5
TELL_EVERY = 60.0
log = logging.getLogger(__name__)


def acquire(path: Path, what: str) -> IO[str]:
    """Wait for the lock. It is held until the file is closed or the process ends, however that happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a")
    told: float | None = None
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if told is None or time.monotonic() - told > TELL_EVERY:
                log.info(f"waiting: another pod is fetching {what} into this cache")
                told = time.monotonic()
            time.sleep(POLL)
