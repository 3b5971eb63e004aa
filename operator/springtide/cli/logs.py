"""Logs as JSON, one line a record."""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from springtide.controllers.subject import subject

_PLAIN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
# kopf adds its own references to objects; its records carry them in the message already.
_NOISE = {"k8s_ref", "k8s_skip", "settings"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object.

    What the work at hand is about becomes fields of it, and what was passed as `extra`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= _subject(record)
        line |= {key: value for key, value in vars(record).items() if key not in _PLAIN | _NOISE and value is not None}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str)


def configure_logs(level: str) -> None:
    """Send all logs to standard error; kopf's own only from warnings on. Nothing else goes there."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(_retries_are_warnings)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_the_end
    if level != "debug":
        logging.getLogger("kopf").setLevel(logging.WARNING)


def _retries_are_warnings(record: logging.LogRecord) -> bool:
    # A busy API server makes kopf report errors that it mends by itself; what it can't mend, it raises.
    if record.levelno == logging.ERROR and record.name.startswith("kopf.") and "will retry" in record.getMessage():
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def _subject(record: logging.LogRecord) -> dict[str, Any]:
    """Return what a record is about: a record of kopf tells by its reference, ours by the work at hand."""
    reference = getattr(record, "k8s_ref", None) or {}
    if reference.get("kind") == "ModelService":
        return {"key": f"{reference['namespace']}/{reference['name']}"}
    return dict(subject())


def _log_the_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(__name__).critical("the program ends by an error of its own", exc_info=(kind, error, trace))
