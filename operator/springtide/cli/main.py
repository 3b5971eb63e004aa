"""`springtide`, and `kubectl springtide` where it is linked as kubectl-springtide."""

import argparse
import os
import sys
from collections.abc import Sequence

# The image is a placeholder: which one an operator was installed with is known to its cluster alone.
DEFAULT_IMAGE = "springtide/model-server"


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
                from springtide.manifests.settings import Settings

                settings = Settings(parsed.model_server_image, parsed.image_pull_policy, parsed.packages_claim or None)
                code = explain(parsed.files, settings, manifests=parsed.manifests)
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
    parser = argparse.ArgumentParser(prog="springtide", description="Checks, explains and shows ModelServices.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    about = "check files as the API server would, without one; exit 1 when anything is wrong"
    validate = commands.add_parser("validate", help=about, description=about[0].upper() + about[1:] + ".")
    _add_files(validate)

    about = "print what each pool runs with every default applied, or the objects that the operator would apply"
    explain = commands.add_parser("explain", help=about, description=about[0].upper() + about[1:] + ".")
    _add_files(explain)
    explain.add_argument("--manifests", action="store_true", help="print the child objects instead")
    explain.add_argument(
        "--model-server-image",
        default=DEFAULT_IMAGE,
        help="image of pods whose ModelService names none, as the operator was installed; default: %(default)s",
    )
    explain.add_argument(
        "--image-pull-policy",
        default="IfNotPresent",
        choices=["Always", "IfNotPresent", "Never"],
        help="for images of pods; default: %(default)s",
    )
    explain.add_argument("--packages-claim", help="PersistentVolumeClaim with Python packages, if the operator has one")

    about = "show the ModelServices of the cluster, and what keeps each from being ready"
    status = commands.add_parser("status", help=about, description=about[0].upper() + about[1:] + ".")
    status.add_argument("name", nargs="?", metavar="NAME", help="only this one")
    where = status.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", help="default: that of the kubeconfig's current context")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="of every namespace")
    return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML, of one or more documents; - is standard input")


if __name__ == "__main__":
    sys.exit(main())
