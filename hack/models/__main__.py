"""`python -m hack.models [smollm2|minilm|all]`: prints the folder of each model, one a line."""

import argparse
import sys

from hack.models import MODELS, folder
from hack.shell import Failure, say


def main() -> int:
    """Make the models that are asked for and print their folders."""
    parser = argparse.ArgumentParser(prog="python -m hack.models", description=main.__doc__)
    parser.add_argument("name", nargs="?", default="all", choices=[*MODELS, "all"])
    name = parser.parse_args().name
    for each in MODELS if name == "all" else [name]:
        try:
            print(folder(each), flush=True)
        except Failure as failure:
            say(f"error: {failure}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
