"""How a program of ours ends: with its reason as the last line of all, and at once."""

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

# Kubernetes shows the text of this file as the reason of a container that ended.
TERMINATION_LOG = Path("/dev/termination-log")


def end(program: str, message: str, code: int) -> NoReturn:
    """Say why, as the last line of all, and end."""
    line = f"{program}: {message}\n"
    sys.stderr.write(line)
    sys.stderr.flush()
    if os.access(TERMINATION_LOG, os.W_OK):
        TERMINATION_LOG.write_text(line, encoding="utf-8")
    exit_now(code)


def exit_now(code: int) -> NoReturn:
    """End the process. A thread of it may be where nothing can stop it in an orderly way, as inside torch."""
    logging.shutdown()
    os._exit(code)
