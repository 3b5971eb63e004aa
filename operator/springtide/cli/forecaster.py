"""`springtide-forecaster`: the forecaster as a program."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from springtide.cli.logs import configure_logs
from springtide.cli.program import COMMON_VARIABLES, add_health_port, add_log_level, add_namespaces, parse
from springtide.cli.prometheus import PROMETHEUS_VARIABLES, add_prometheus, prometheus_of
from springtide.forecaster.run import Options, run

_VARIABLES = {
    "SPRINGTIDE_STATE_DIR": "--state-dir",
    "SPRINGTIDE_CHECKPOINT": "--checkpoint",
    **COMMON_VARIABLES,
    **PROMETHEUS_VARIABLES,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the forecaster until it is told to stop."""
    parser = _parser()
    parsed = parse(parser, _VARIABLES, arguments)
    prometheus = prometheus_of(parser, parsed)
    if prometheus is None:
        parser.error("--prometheus-url is needed: forecasts are made of what Prometheus has")
    if parsed.state_dir and not parsed.state_dir.is_dir():
        parser.error(f"--state-dir: {parsed.state_dir} is not a folder")
    configure_logs(parsed.log_level)
    return asyncio.run(
        run(Options(prometheus, parsed.namespace, parsed.state_dir, parsed.checkpoint, parsed.health_port))
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="springtide-forecaster",
        description="Writes a TrafficForecast for each ModelService, each minute that it says something new. Every "
        "option may be given by the environment variable in brackets. The cluster is the one that it runs in, else "
        "that of the kubeconfig.",
    )
    add_namespaces(parser, "forecast for")
    add_prometheus(parser)
    parser.add_argument(
        "--state-dir",
        type=Path,
        metavar="DIR",
        help="folder in which its state is kept over restarts; without one it begins anew from the past that "
        "Prometheus has [SPRINGTIDE_STATE_DIR]",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="what springtide-train writes, taken when it is there and whenever it changes; default: the checkpoint "
        "that ships [SPRINGTIDE_CHECKPOINT]",
    )
    add_health_port(parser)
    add_log_level(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
