"""The options that say which traffic is looked at; apart, so that the other commands start without numpy."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, datetime

from springtide.api.base import DNS_LABEL
from springtide.cli.prometheus import add_access

_MINUTES = {"m": 1, "h": 60, "d": 1440, "w": 7 * 1440}
_LONGEST_DAYS = 366


def add_traffic(parser: ArgumentParser) -> None:
    """Add the options: a file, or a service whose past a Prometheus has."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--trace", metavar="FILE", help="CSV: t_s,requests, or a row a request: t_s,in_tokens,out_tokens"
    )
    source.add_argument(
        "--prometheus-url",
        metavar="URL",
        help="instead of a file, Prometheus, or what has its HTTP API, with the chart's recording rules",
    )
    parser.add_argument(
        "--service", type=_service, metavar="NAMESPACE/NAME", help="whose requests are read from Prometheus"
    )
    parser.add_argument(
        "--since", type=_span, metavar="SPAN", help="how far back they are read, such as 14d, 36h or 90m; default: 14d"
    )
    parser.add_argument(
        "--until", type=moment, metavar="TIME", help="the end of what is read, as in 2024-05-12T00:00Z; default: now"
    )
    add_access(parser, variables=False)


def moment(text: str) -> float:
    """Return the unix seconds of a time, which is in UTC unless it says otherwise."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a time such as 2024-05-12T00:00Z, not {text!r}") from None
    return at.replace(tzinfo=at.tzinfo or UTC).timestamp()


def _service(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    if not all(len(one) <= 63 and re.fullmatch(DNS_LABEL, one) for one in (namespace, name)):
        raise ArgumentTypeError(f"must be NAMESPACE/NAME of a ModelService, not {text!r}")
    return namespace, name


def _span(text: str) -> int:
    """Return whole minutes."""
    found = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    minutes = int(found[1]) * _MINUTES[found[2]] if found else 0
    if not 0 < minutes <= _LONGEST_DAYS * 1440:
        raise ArgumentTypeError(f"must be a span such as 14d, 36h or 90m, of {_LONGEST_DAYS}d at most, not {text!r}")
    return minutes
