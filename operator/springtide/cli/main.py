"""`springtide`, and `kubectl springtide` where it is linked as kubectl-springtide."""

import argparse
import os
import sys
from collections.abc import Sequence

from springtide.cli.settings import add_settings, settings_of
from springtide.cli.simulation import add_simulation
from springtide.cli.traffic import add_traffic


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    parsed = _parser().parse_args(arguments)
    # Each command is imported when it runs: one needs a Kubernetes client, the others must start without it.
    try:
        match parsed.command:
            case "validate":
                from springtide.cli.validate import validate

                code = validate(parsed.files)
            case "explain":
                from springtide.cli.explain import explain

                code = explain(parsed.files, settings_of(parsed), manifests=parsed.manifests)
            case "simulate":
                from springtide.cli.simulate import simulate

                code = simulate(parsed)
            case "backtest":
                from springtide.cli.backtest import run_backtest

                code = run_backtest(parsed)
            case _:
                from springtide.cli.status import status

                code = status(parsed.name, parsed.namespace, everywhere=parsed.all_namespaces)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough, as `head` has; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="springtide", description="Checks, explains, shows and tries ModelServices.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    about = "check files as the API server would, without one; exit 1 when anything is wrong"
    validate = commands.add_parser("validate", help=about, description=about[0].upper() + about[1:] + ".")
    _add_files(validate)

    about = "print what each pool runs with every default applied, or the objects that the operator would apply"
    explain = commands.add_parser("explain", help=about, description=about[0].upper() + about[1:] + ".")
    _add_files(explain)
    explain.add_argument("--manifests", action="store_true", help="print the child objects instead")
    add_settings(explain, default_images=True)

    about = "measure the forecasts over a trace, beside simple models"
    backtest = commands.add_parser("backtest", help=about, description=about[0].upper() + about[1:] + ".")
    add_traffic(backtest)
    backtest.add_argument(
        "--warmup-days", type=_days, metavar="DAYS", help="not scored; default: 3, of a shorter trace its first half"
    )
    backtest.add_argument("--checkpoint", metavar="FILE", help="what training wrote; default: the pretrained one")
    backtest.add_argument("--auto-arima", action="store_true", help="beside AutoARIMA too: slow, needs statsforecast")
    backtest.add_argument("-o", "--output", choices=("text", "json"), default="text")

    about = "show the ModelServices of the cluster, and what keeps each from being ready"
    status = commands.add_parser("status", help=about, description=about[0].upper() + about[1:] + ".")
    status.add_argument("name", nargs="?", metavar="NAME", help="only this one")
    where = status.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", help="default: that of the kubeconfig's current context")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")

    about = "run the scaling decision, or another autoscaler's, over recorded traffic with a fake clock"
    simulate = commands.add_parser("simulate", help=about, description=about[0].upper() + about[1:] + ".")
    add_simulation(simulate)
    return parser


def _days(text: str) -> float:
    days = float(text)
    if not 0.1 <= days <= 366:
        raise argparse.ArgumentTypeError(f"{text} is not a number of days from 0.1 to 366")
    return days


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML, of one or more documents; - is standard input")


if __name__ == "__main__":
    sys.exit(main())
