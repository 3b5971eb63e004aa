"""`springtide-train`: training of the forecaster as a program, which ends when it is done; needs torch."""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from springtide.cli.logs import configure_logs
from springtide.cli.program import add_log_level, parse
from springtide.cli.prometheus import PROMETHEUS_VARIABLES, add_prometheus, prometheus_of

_VARIABLES = {
    "SPRINGTIDE_CHECKPOINT": "--checkpoint",
    "SPRINGTIDE_LOG_LEVEL": "--log-level",
    **PROMETHEUS_VARIABLES,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train once; 0 also where nothing better came out, 1 where there was nothing to learn from."""
    parser = _parser()
    parsed = parse(parser, _VARIABLES, arguments)
    prometheus = prometheus_of(parser, parsed)
    if prometheus is None:
        parser.error("--prometheus-url is needed: it is learned from what Prometheus has")
    if parsed.checkpoint is None or not parsed.checkpoint.parent.is_dir():
        parser.error("--checkpoint is needed, a file in a folder that is there")
    configure_logs(parsed.log_level)
    try:
        from springtide.forecaster.training import train_once
    except ModuleNotFoundError as error:
        parser.error(f"training needs PyTorch, the extra `train`: {error}")
    return asyncio.run(train_once(prometheus, parsed.checkpoint, time.time(), parsed.days, parsed.services))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="springtide-train",
        description="Learns from the traffic that Prometheus has kept, and replaces the forecaster's checkpoint by "
        "what is better on the last day. Options may be given by the environment variables in brackets.",
    )
    add_prometheus(parser)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="what is learned from and replaced; without one it starts from what ships [SPRINGTIDE_CHECKPOINT]",
    )
    parser.add_argument("--days", type=_number(2, 90), default=30, help="how far back; 2 to 90, default: 30")
    parser.add_argument(
        "--services",
        type=_number(1, 1000),
        default=100,
        help="at most so many, those with the most requests; 1 to 1000, default: 100",
    )
    add_log_level(parser)
    return parser


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not within {least} and {most}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
