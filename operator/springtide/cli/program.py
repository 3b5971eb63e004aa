"""What the programs that run in a cluster have in common: environment variables that stand for options, and options."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence

from springtide.api.base import DNS_LABEL

_NAMESPACE = "--namespace"

COMMON_VARIABLES = {
    "SPRINGTIDE_NAMESPACES": _NAMESPACE,
    "SPRINGTIDE_HEALTH_PORT": "--health-port",
    "SPRINGTIDE_LOG_LEVEL": "--log-level",
}


def parse(
    parser: argparse.ArgumentParser, variables: Mapping[str, str], arguments: Sequence[str] | None
) -> argparse.Namespace:
    """Parse variables as the options that they stand for, then the command line, which is `arguments` if given.

    So they are checked as options are, and an option that is given goes before its variable.
    """
    values = {option: os.environ.get(variable, "") for variable, option in variables.items()}
    options = [
        f"{option}={part.strip()}"
        for option, value in values.items()
        for part in (value.split(",") if option == _NAMESPACE else [value])
        if part.strip()
    ]
    return parser.parse_args([*options, *(sys.argv[1:] if arguments is None else arguments)])


def add_namespaces(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option that names namespaces; `what` is done in these only."""
    parser.add_argument(
        _NAMESPACE,
        action="append",
        default=[],
        type=namespace,
        help=f"{what} this namespace only; may be repeated; default: all [SPRINGTIDE_NAMESPACES, separated by commas]",
    )


def add_health_port(parser: argparse.ArgumentParser) -> None:
    """Add the option of where the program tells of itself."""
    parser.add_argument(
        "--health-port",
        type=int,
        default=8080,
        help="port of /healthz, /readyz and /metrics; 0 for any free port, which the log tells; default: 8080 "
        "[SPRINGTIDE_HEALTH_PORT]",
    )


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """Add the option of what is logged."""
    parser.add_argument(
        "--log-level",
        default="info",
        choices=["debug", "info", "warning", "error"],
        help="default: info [SPRINGTIDE_LOG_LEVEL]",
    )


def namespace(text: str) -> str:
    """Return the name of a namespace; raises what argparse reports."""
    if len(text) > 63 or not re.match(DNS_LABEL, text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of a namespace")
    return text
