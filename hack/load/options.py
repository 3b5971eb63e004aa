"""What a run is asked to do, and what is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.shell import Failure

KINDS = {
    "get": "/",
    "chat": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
    "body": "/",
    "template": "/",
}
MAX_SECONDS = 3600
MAX_WAIT_SECONDS = 600
MAX_TOKENS = 100_000
MAX_CONNECTIONS = 20_000
MAX_PROCESSES = 64
_MANAGED = {"content-length", "transfer-encoding", "connection", "expect", "upgrade", "accept-encoding"}


@dataclass(frozen=True)
class Options:
    """A run; docs/load.md and `--help` say what each means. Texts like `rate` are what the command line takes."""

    targets: tuple[str, ...]
    kind: str = "get"
    seconds: float = 10
    seed: int = 1
    # when: one of rate, trace and concurrency
    rate: str | float | None = None
    arrivals: str = "poisson"
    trace: Path | None = None
    speed_up: float = 1
    scale: float = 1
    trace_start: float = 0
    concurrency: int | None = None
    requests: int | None = None
    until_failures: int | None = None
    # what
    model: str = "model"
    tokens: str | int = 32
    max_tokens: str | int = 64
    inputs: int = 1
    stream: bool = False
    fields: tuple[tuple[str, str], ...] = ()
    file: Path | None = None
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    header_mix: str = ""
    abandon: float = 0
    abandon_within_seconds: float = 1
    check: bool = True
    # how
    connections: str = "keep"
    max_connections: int = 1000
    timeout_seconds: float = 30
    grace_seconds: float | None = None
    processes: int = 1
    ca: Path | None = None
    insecure: bool = False
    # what to tell
    slo_milliseconds: float | None = None
    slo_first_token_milliseconds: float | None = None
    max_lateness_milliseconds: float = 10
    timeline: Path | None = None

    @property
    def grace(self) -> float:
        """How long answers may take after the last request: beyond its timeout, which counts from when it is sent."""
        return self.timeout_seconds + 1 if self.grace_seconds is None else self.grace_seconds

    def verify(self) -> None:
        """Refuse what can't be run, naming the option.

        Raises Failure.
        """
        for problem in self._problems():
            raise Failure(problem)
        lengths(self.tokens, "--tokens")
        lengths(self.max_tokens, "--max-tokens")
        mix(self.header_mix)
        if self.rate is not None:
            rates(self.rate)

    def _problems(self) -> Iterator[str]:
        if not self.targets:
            yield "no target: give at least one URL"
        if self.kind not in KINDS:
            yield f"--kind {self.kind}: one of {', '.join(KINDS)}"
        if [self.rate, self.trace, self.concurrency].count(None) != 2:
            yield "give exactly one of --rate, --trace and --concurrency"
        if self.arrivals not in {"poisson", "constant"}:
            yield f"--arrivals {self.arrivals}: poisson or constant"
        if self.connections not in {"keep", "fresh"}:
            yield f"--connections {self.connections}: keep or fresh"
        for name, low, high in (
            ("seconds", 0.01, MAX_SECONDS),
            ("speed_up", 1e-6, 1e9),
            ("scale", 1e-9, 1),
            ("trace_start", 0, 1e12),
            ("concurrency", 1, self.max_connections),
            ("requests", 1, 1e12),
            ("until_failures", 1, 1e12),
            ("inputs", 1, 2048),
            ("abandon", 0, 1),
            ("abandon_within_seconds", 0, MAX_WAIT_SECONDS),
            ("max_connections", 1, MAX_CONNECTIONS),
            ("timeout_seconds", 0.001, MAX_WAIT_SECONDS),
            ("grace_seconds", 0, MAX_WAIT_SECONDS),
            ("processes", 1, MAX_PROCESSES),
            ("slo_milliseconds", 0, 1e9),
            ("slo_first_token_milliseconds", 0, 1e9),
            ("max_lateness_milliseconds", 0, 1e9),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                yield f"--{name.replace('_', '-')} {value:g}: between {low:g} and {high:g}"
        if self.processes > min(self.concurrency or MAX_PROCESSES, self.max_connections):
            yield f"--processes {self.processes}: no more than --concurrency and --max-connections"
        if (self.kind in {"body", "template"}) != (self.file is not None):
            yield f"--kind {self.kind}: a file goes with --body and --template, and only with those"
        if self.stream and self.kind in {"get", "embeddings"}:
            yield f"--stream: {self.kind} has no streams"
        yield from self._bad_headers()

    def _bad_headers(self) -> Iterator[str]:
        for name, value in (*self.headers, ("Content-Type", self.content_type)):
            if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t -~]*", value):
                yield f"--header {name}: a name, ': ' and a value of printable ASCII"
            if name.lower() in _MANAGED:
                yield f"--header {name}: this one is the generator's own"
        for name, value in self.fields:
            try:
                json.loads(value)
            except ValueError:
                yield f"--field {name}={value}: the value must be JSON"


def rates(text: str | float) -> list[tuple[float, float]]:
    """Return (first, last) of each step: "10,20" are two steps, "10-50" is one that rises."""
    steps = []
    for word in str(text).split(","):
        found = re.fullmatch(r"([\d.]+)(?:-([\d.]+))?", word.strip())
        try:
            first, last = (float(found[1]), float(found[2] or found[1])) if found else (math.nan, math.nan)
        except ValueError:
            first = last = math.nan
        if not (0 <= first <= 1e6 and 0 <= last <= 1e6):
            raise Failure(f"--rate {text}: requests a second like 10, steps like 10,20,40, or a ramp like 10-100")
        steps.append((first, last))
    if not any(first + last for first, last in steps):
        raise Failure(f"--rate {text}: more than nothing")
    return steps


def lengths(text: str | int, option: str = "--tokens") -> list[tuple[int, int]]:
    """Return (shortest, longest) of each part, all equally likely: "32", "16,256", "8-64"."""
    parts = []
    for word in str(text).split(","):
        found = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", word.strip())
        low, high = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= low <= high <= MAX_TOKENS:
            raise Failure(f"{option} {text}: lengths like 32, 16,64,256 or 8-256, between 1 and {MAX_TOKENS}")
        parts.append((low, high))
    return parts


def mix(text: str) -> tuple[str, dict[str, float]]:
    """Return the header and {value: weight} of "X-Priority=critical:0.2,standard:0.8"; nothing for an empty text."""
    if not text:
        return "", {}
    found = re.fullmatch(r"([A-Za-z0-9-]+)=(.+)", text)
    pairs = [part.rpartition(":") for part in found[2].split(",")] if found else []
    try:
        weights = {value.strip(): float(weight) for value, _, weight in pairs}
    except ValueError:
        weights = {}
    good = all(re.fullmatch(r"[!-~]+", value) and 0 < weight <= 1e9 for value, weight in weights.items())
    if not found or not weights or not good or len(weights) != len(pairs) or len(weights) > 64:
        raise Failure(f"--header-mix {text}: like X-Priority=critical:0.2,standard:0.8, each value once")
    if found[1].lower() in _MANAGED:
        raise Failure(f"--header-mix {found[1]}: this header is the generator's own")
    return found[1], weights
