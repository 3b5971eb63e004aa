"""What one server of the bench is told, in an environment variable: some of them start processes of their own."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "SPRINGTIDE_BENCH"
QUEUE = 1024
"""Requests that may wait where a server has such a bound and isn't to protect itself."""


@dataclass(frozen=True)
class Settings:
    """One start of one server. A server without the knob ignores it, and says so in its file."""

    model: str
    """The model's folder."""
    port: int
    rows: int
    """Of a batch, at most."""
    wait_milliseconds: int
    """How long a batch waits for more rows, at most."""
    threads: int
    slo_milliseconds: int
    """What answers are worth."""
    protect: bool
    """Whether the server is to refuse or drop what would be late; else it is to answer everything."""
    places: int
    """Requests that it may hold then: so many as it answers in that time."""
    scratch: str
    """A folder for its files, taken away at the end."""

    @property
    def queue(self) -> int:
        """Requests that may wait where a server has such a bound."""
        return self.places if self.protect else QUEUE

    def encode(self) -> str:
        """Return the variable's value. No other server's is the same, so it also tells whose a process is."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def read(cls) -> Settings:
        """Return the settings of the server that this process belongs to."""
        return cls(**json.loads(os.environ[VARIABLE]))
