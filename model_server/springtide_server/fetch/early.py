"""Imported before everything else: from here on SIGTERM ends the fetch, at once.

The first process of a container ignores a signal that it has no handler for. What was fetched so far stays in the
cache, under names that nobody takes for a complete file, and the next start goes on from there.
"""

import signal
from typing import Final

from springtide_server.ending import end

PROGRAM: Final = "springtide-model-fetch"
TERMINATED: Final = 128 + signal.SIGTERM

signal.signal(signal.SIGTERM, lambda *_: end(PROGRAM, "ended by SIGTERM; the next start goes on from here", TERMINATED))
