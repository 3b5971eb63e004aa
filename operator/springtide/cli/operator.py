"""`springtide-operator`: the operator as a program."""

import argparse
import asyncio
import re
import socket
import sys
from collections.abc import Sequence

from springtide.api.base import DNS_LABEL
from springtide.cli.logs import configure_logs
from springtide.cli.program import COMMON_VARIABLES, add_health_port, add_log_level, add_namespaces, namespace, parse
from springtide.cli.prometheus import PROMETHEUS_VARIABLES, add_prometheus, prometheus_of
from springtide.cli.settings import SETTINGS_VARIABLES, add_settings, settings_of
from springtide.controllers.lease import Election
from springtide.controllers.liveness import PERIOD_SECONDS
from springtide.controllers.options import Options
from springtide.controllers.run import run

_VARIABLES = {
    **SETTINGS_VARIABLES,
    **COMMON_VARIABLES,
    **PROMETHEUS_VARIABLES,
    "SPRINGTIDE_LEADER_ELECTION_NAMESPACE": "--leader-election-namespace",
    "SPRINGTIDE_LEADER_ELECTION_NAME": "--leader-election-name",
    "SPRINGTIDE_IDENTITY": "--identity",
    "SPRINGTIDE_RESYNC_SECONDS": "--resync-seconds",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until it is told to stop."""
    parser = _parser()
    parsed = parse(parser, _VARIABLES, arguments)
    configure_logs(parsed.log_level)
    where = parsed.leader_election_namespace
    election = Election(where, parsed.leader_election_name, parsed.identity) if where else None
    options = Options(
        settings_of(parsed),
        parsed.namespace,
        parsed.health_port,
        election,
        parsed.resync_seconds,
        prometheus=prometheus_of(parser, parsed),
    )
    return asyncio.run(run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="springtide-operator",
        description="Serves ModelServices on Kubernetes. Every option may be given by the environment variable in "
        "brackets. The cluster is the one that it runs in, else that of the kubeconfig.",
    )
    add_namespaces(parser, "serve")
    add_settings(parser, default_images=False)
    add_health_port(parser)
    parser.add_argument(
        "--leader-election-namespace",
        type=namespace,
        metavar="NAMESPACE",
        help="of several operators only the holder of a Lease in this namespace works, the others stand by; default: "
        "no election [SPRINGTIDE_LEADER_ELECTION_NAMESPACE]",
    )
    parser.add_argument(
        "--leader-election-name",
        type=_object_name,
        default="springtide-operator",
        metavar="NAME",
        help="name of the Lease; default: springtide-operator [SPRINGTIDE_LEADER_ELECTION_NAME]",
    )
    parser.add_argument(
        "--identity",
        type=_identity,
        default=socket.gethostname(),
        help="what this operator is called in the Lease, which no other may be at the same time; default: the host's "
        "name, in a cluster that is the pod's [SPRINGTIDE_IDENTITY]",
    )
    parser.add_argument(
        "--resync-seconds",
        type=_seconds,
        default=PERIOD_SECONDS,
        help="how often the cache is compared with lists of names and versions, 20 %% more or less, to find what the "
        "watches missed; five times that without a sign of the cluster fails /healthz; 5 to 3600, default: 180 "
        "[SPRINGTIDE_RESYNC_SECONDS]",
    )
    add_prometheus(parser)
    add_log_level(parser)
    return parser


def _object_name(text: str) -> str:
    if len(text) > 253 or not all(re.match(DNS_LABEL, part) for part in text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is not the name of an object")
    return text


def _identity(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an operator without a name can't hold a Lease")
    return text


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 5 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not within 5 and 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
