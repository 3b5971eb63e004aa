"""Takes secrets out of what is logged. Nothing writes them there knowingly; this is for what libraries may say."""

import logging
import os
import re

from springtide_server.logs import JsonFormatter

SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
# Addresses of files may be signed, and an endpoint may hold a password.
_IN_ADDRESSES = re.compile(r"(?<=://)[^/\s@]+@|(?<=[?&])((?:X-Amz-|Key-Pair-Id|Policy|Signature)[^=\s]*)=[^&\s\"]*")


def redact(text: str) -> str:
    """The text without secrets."""
    for name in SECRETS:
        if secret := os.environ.get(name):
            text = text.replace(secret, "***")
    return _IN_ADDRESSES.sub(lambda found: f"{found.group(1)}=***" if found.group(1) else "***@", text)


class _Formatter(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def install() -> None:
    """Let every line of the log pass through `redact`."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(_Formatter())
