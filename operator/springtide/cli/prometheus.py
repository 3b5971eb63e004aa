"""The options that say where Prometheus is."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from springtide.api.errors import Invalid

if TYPE_CHECKING:
    from springtide.clients.prometheus import Prometheus

_ACCESS = {
    "prometheus-token-file": "bearer token for it, read anew each time",
    "prometheus-ca-file": "certificate authorities for it, in PEM; default: those of the system",
}

PROMETHEUS_VARIABLES = {
    "SPRINGTIDE_PROMETHEUS_URL": "--prometheus-url",
    "SPRINGTIDE_PROMETHEUS_TOKEN_FILE": "--prometheus-token-file",
    "SPRINGTIDE_PROMETHEUS_CA_FILE": "--prometheus-ca-file",
}


def add_prometheus(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--prometheus-url",
        default="",
        metavar="URL",
        help="Prometheus, or what has its HTTP API, which scrapes the model servers and has the chart's recording "
        "rules; without it nothing is known of traffic, and replicas are held [SPRINGTIDE_PROMETHEUS_URL]",
    )
    add_access(parser, variables=True)


def add_access(parser: argparse.ArgumentParser, *, variables: bool) -> None:
    """Add the options of a token and of certificate authorities, which may be said to come by `variables` too."""
    for option, about in _ACCESS.items():
        variable = f"SPRINGTIDE_{option.upper().replace('-', '_')}"
        text = f"{about} [{variable}]" if variables else about
        parser.add_argument(f"--{option}", type=Path, metavar="FILE", help=text)


def prometheus_of(parser: argparse.ArgumentParser, parsed: argparse.Namespace) -> "Prometheus | None":
    """Return the Prometheus that was named, if any; a wrong URL ends the program with a message."""
    if not parsed.prometheus_url:
        return None
    # Here, since what only has the options starts without it.
    from springtide.clients.prometheus import Prometheus

    try:
        return Prometheus(
            parsed.prometheus_url, token_file=parsed.prometheus_token_file, ca_file=parsed.prometheus_ca_file
        )
    except Invalid as error:
        parser.error(f"--prometheus-url: {error}")
