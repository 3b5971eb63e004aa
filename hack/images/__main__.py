"""`python -m hack.images operator model-server`: build images, print each one's reference and OCI archive."""

from __future__ import annotations

import argparse
import sys

from hack.shell import Failure, say

from . import catalog

IMAGES = {
    "pause": catalog.pause,
    "coredns": catalog.coredns,
    "python": catalog.python,
    "operator": catalog.operator,
    "model-server": catalog.model_server,
}


def main() -> int:
    """Build what is named; a failure is one clear message."""
    parser = argparse.ArgumentParser(prog="python -m hack.images", description="Build images for local clusters.")
    parser.add_argument("images", nargs="+", choices=IMAGES, metavar="IMAGE", help=", ".join(IMAGES))
    try:
        for name in parser.parse_args().images:
            image = IMAGES[name]()
            print(image.reference, image.archive)
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
