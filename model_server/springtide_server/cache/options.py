"""The cache's options on the command line."""

import os
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

PASSWORD = "SPRINGTIDE_RESULT_CACHE_PASSWORD"  # noqa: S105  # its name
SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True)
class StoreSettings:
    """Where Redis is and what it may hold. Times in seconds."""

    url: str
    password: str | None
    lifetime: float
    max_bytes: int
    """Of one result; larger ones are not kept."""
    deadline: float
    """Of one call."""


def add(parser: ArgumentParser) -> None:
    """Make the parser know them."""
    add = parser.add_argument
    add("--result-cache-url", default="", metavar="URL", help=f"a Redis that keeps results; its password is {PASSWORD}")
    add("--result-cache-ttl-seconds", default=3600, type=_positive, help="how long a result is kept")
    add("--result-cache-max-bytes", default=1 << 18, type=_positive, help="larger results are not kept")
    add("--result-cache-timeout-milliseconds", default=20, type=_positive, help="of one call to Redis")


def take(values: dict[str, Any]) -> StoreSettings | None:
    """The settings, None without a URL; takes them out of the parsed values. Raises ValueError."""
    url = values.pop("result_cache_url")
    lifetime, max_bytes = values.pop("result_cache_ttl_seconds"), values.pop("result_cache_max_bytes")
    deadline = values.pop("result_cache_timeout_milliseconds") / 1000
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not (parts.hostname or parts.scheme == "unix"):
        raise ValueError(
            f"should be redis://HOST:PORT/DATABASE, or with rediss:// or unix://; its scheme is {parts.scheme!r}"
        )
    _ = parts.port  # raises ValueError when it is no number
    if parts.password:
        raise ValueError(f"has a password, which a list of processes would show; set {PASSWORD} instead")
    return StoreSettings(url, os.environ.get(PASSWORD) or None, lifetime, max_bytes, deadline)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ArgumentTypeError(f"{text} is less than 1")
    return int(text)
