"""The command `springtide-model-fetch`."""

from springtide_server.fetch import early  # noqa: F401, I001  # first, since the others take a second

import argparse
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from springtide_server import logs
from springtide_server.ending import end, exit_now
from springtide_server.fetch import redaction
from springtide_server.fetch.early import PROGRAM
from springtide_server.fetch.errors import FetchError, Unavailable, from_disk
from springtide_server.fetch.uri import HubUri, parse

log = logging.getLogger("springtide_server.fetch")
# Before the name of a variable: what it is unless a Secret sets it.
DEFAULT = "SPRINGTIDE_DEFAULT_"
NEEDS_CHANGE, MAY_PASS = 2, 1
ATTEMPTS = 6


@dataclass(frozen=True)
class Settings:
    """What the command line says."""

    uri: str
    revision: str | None
    cache: Path
    link: str
    attempts: int


def main() -> None:
    """Fetch, and end: with 0, with 2 when somebody must change something, with 1 when a later start may do."""
    settings = _arguments()
    _clean_environment()
    logs.configure()
    redaction.install()
    try:
        _fetch(settings)
    except FetchError as error:
        end(PROGRAM, redaction.redact(str(error)), NEEDS_CHANGE)
    except Unavailable as error:
        end(PROGRAM, redaction.redact(str(error)), MAY_PASS)
    except OSError as error:
        # Sources turn their own errors into ours, so this is the cache's.
        mended = from_disk(error, settings.cache)
        end(PROGRAM, redaction.redact(str(mended)), NEEDS_CHANGE if isinstance(mended, FetchError) else MAY_PASS)
    except Exception as error:
        log.exception("unexpected")
        end(PROGRAM, redaction.redact(f"unexpected {type(error).__name__}: {error}; the log has more"), MAY_PASS)
    exit_now(0)


def _fetch(settings: Settings) -> None:
    uri = parse(settings.uri, settings.revision)
    # Each takes some tenths of a second to import, so only what is needed is.
    from springtide_server.fetch.deliver import Delivery
    from springtide_server.fetch.source import Source

    source: Source
    if isinstance(uri, HubUri):
        from springtide_server.fetch.hub import Hub

        source = Hub(uri)
    else:
        from springtide_server.fetch.bucket import Bucket

        source = Bucket(uri, os.environ)
    Delivery(source, settings.cache, settings.link, settings.attempts).run()


def _arguments() -> Settings:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Fetches a model into a cache, checks it, and makes the link CACHE/links/NAME to its folder.",
    )
    add = parser.add_argument
    add("--uri", required=True, help="hf://ORGANISATION/REPOSITORY or s3://BUCKET/PREFIX")
    add("--revision", type=lambda text: text or None, help="branch, tag or commit of an hf:// model (default: main)")
    add("--cache", required=True, type=Path, metavar="DIR", help="folder that keeps models, shared by pods")
    add("--link", required=True, type=_name, metavar="NAME", help="name of the link below DIR/links")
    add("--attempts", default=ATTEMPTS, type=_positive, help=f"tries for what may pass (default: {ATTEMPTS})")
    return Settings(**vars(parser.parse_args()))


def _name(text: str) -> str:
    if not text or text.startswith(".") or "/" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain name")
    return text


def _positive(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return int(text)


def _clean_environment() -> None:
    """Values from Secrets often end with a newline, and optional ones are empty: libraries take both at their word.

    What a Secret may set and does not has the default of SPRINGTIDE_DEFAULT_NAME.
    """
    for name, value in list(os.environ.items()):
        plain = name.removeprefix(DEFAULT)
        if name != plain and not os.environ.get(plain, "").strip():
            os.environ[plain] = value
    for name, value in list(os.environ.items()):
        if name.startswith(("HF_", "AWS_")):
            if value.strip():
                os.environ[name] = value.strip()
            else:
                del os.environ[name]
    # Else huggingface_hub asks the hub before each fetch for a list of programs, to tell it which one has started it.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


if __name__ == "__main__":
    main()
