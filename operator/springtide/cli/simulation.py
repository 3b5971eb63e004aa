"""The options of `springtide simulate`; apart, so that the other commands start without numpy."""

from argparse import ArgumentParser, ArgumentTypeError
from math import isfinite

from springtide.cli.traffic import add_traffic, moment

POLICIES = (
    *("springtide", "springtide-reactive", "springtide-last-value"),
    *("hpa", "knative-kpa", "dynamo-planner", "static", "clairvoyant"),
)


def add_simulation(parser: ArgumentParser) -> None:
    """Add the options of the command."""
    add_traffic(parser)
    parser.add_argument(
        "--spec", required=True, metavar="FILE", help="YAML of a ModelService; its first pool is scaled"
    )
    parser.add_argument("--policy", choices=POLICIES, default="springtide", help="default: springtide")
    parser.add_argument(
        "--cold-start-seconds", type=_positive, default=180.0, metavar="S", help="median time to Ready; default: 180"
    )
    parser.add_argument(
        "--replica-rate", type=_positive, required=True, metavar="R", help="requests a second that one replica serves"
    )
    parser.add_argument(
        "--wait-slo-seconds", type=_positive, default=5.0, metavar="S", help="a longer wait is late; default: 5"
    )
    parser.add_argument("--warmup-days", type=_days, default=3.0, metavar="D", help="days not scored; default: 3")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and cold starts; default: 1")
    parser.add_argument(
        "--start", type=moment, metavar="TIME", help="when the trace of a file began, as in 2024-05-12T00:00Z"
    )
    parser.add_argument("--timeline", metavar="FILE", help="write a row for each 10 s after the warm-up, as CSV")
    parser.add_argument("--plot", metavar="FILE", help="draw demand, replicas and misses, as PNG; needs matplotlib")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="default: text")


def _positive(text: str) -> float:
    number = _number(text)
    if not number > 0:
        raise ArgumentTypeError(f"must be more than 0, not {text}")
    return number


def _days(text: str) -> float:
    number = _number(text)
    if number < 0:
        raise ArgumentTypeError(f"must not be below 0: {text}")
    return number


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ArgumentTypeError(f"must be a number, not {text!r}") from None
    if not isfinite(number):
        raise ArgumentTypeError(f"must be a finite number, not {text}")
    return number
