"""What the work at hand is about, for the log: every record that is written meanwhile carries it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_SUBJECT: ContextVar[dict[str, Any] | None] = ContextVar("subject", default=None)


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Give the fields to each record of what runs within, in this task and the ones that it starts."""
    token = _SUBJECT.set(fields)
    try:
        yield
    finally:
        _SUBJECT.reset(token)


def note(**fields: Any) -> None:
    """Add fields, once they are known, to what the work is about."""
    subject = _SUBJECT.get()
    if subject is not None:
        subject.update(fields)


def subject() -> Mapping[str, Any]:
    """Return the fields of the work at hand."""
    return _SUBJECT.get() or {}
