"""The command line: `python -m hack.load --rate 20 --seconds 30 --kind chat --stream http://127.0.0.1:8000`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from hack.load.options import KINDS, Options
from hack.load.processes import run
from hack.shell import Failure, say


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        say(f"{self.prog}: {message}")
        sys.exit(1)


def main(words: list[str] | None = None) -> int:
    """Print the report; return 1 for what was refused, 0 otherwise, whatever became of the requests."""
    parser = _Parser("python -m hack.load", description=__doc__, allow_abbrev=False)
    _when(parser.add_argument_group("when to send: one of --rate, --trace and --concurrency"))
    _what(parser.add_argument_group("what to send"))
    _how(parser.add_argument_group("how to send it"))
    _told(parser.add_argument_group("what to tell"))
    parser.add_argument("targets", nargs="+", metavar="URL", help="on this machine; several are used in turn")
    asked = vars(parser.parse_args(words))
    for kind in ("body", "template"):
        file = asked.pop(kind)
        if file is not None:
            if asked["kind"] is not None:
                parser.error("give one of --kind, --body and --template")
            asked |= {"kind": kind, "file": file}
    asked["kind"] = asked["kind"] or "get"
    given: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, list):
            given[name] = tuple(value)
    options = Options(**given)
    asks = 0

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal asks
        asks += 1

    before = {one: signal.signal(one, end) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        print(json.dumps(run(options, lambda: asks), indent=1), flush=True)
    except Failure as failure:
        say(str(failure))
        return 1
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return 0


def _when(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rate", help="requests a second: 10, steps 10,20,40 that share --seconds, or a ramp 10-100")
    group.add_argument("--arrivals", choices=("poisson", "constant"), help="how --rate is spread (poisson)")
    group.add_argument("--trace", type=Path, help="CSV with the columns t_s,requests or t_s,in_tokens,out_tokens")
    group.add_argument("--speed-up", type=float, help="play the trace so many times as fast")
    group.add_argument("--scale", type=float, help="keep each request of the trace with this chance")
    group.add_argument("--trace-start", type=float, help="begin at this t_s")
    group.add_argument("--concurrency", type=int, help="closed loop: so many clients, each waits for its answer")
    group.add_argument("--seconds", type=float, help="how long to send (10), 3600 at most")
    group.add_argument("--requests", type=int, help="end after so many requests")
    group.add_argument("--until-failures", type=int, metavar="N", help="end after N failures")
    group.add_argument("--seed", type=int, help="the same seed gives the same requests at the same times (1)")


def _what(group: argparse._ArgumentGroup) -> None:
    kinds = tuple(kind for kind in KINDS if kind not in {"body", "template"})
    group.add_argument("--kind", choices=kinds, help="get, or a request of OpenAI's API (get)")
    group.add_argument("--body", type=Path, metavar="FILE", help="POST this file")
    group.add_argument("--template", type=Path, metavar="FILE", help="POST this file with $text, $max_tokens, $index")
    group.add_argument("--content-type", help="of --body and --template (application/json)")
    group.add_argument("--model", help="the model's name in built-in kinds (model)")
    group.add_argument("--tokens", help="length of the text, about: 32, 16,64,256 or 8-256 (32)")
    group.add_argument("--max-tokens", help="length of the answer, in the same way (64)")
    group.add_argument("--inputs", type=int, help="texts in a request for embeddings (1)")
    group.add_argument("--stream", action="store_true", help="ask for server-sent events")
    group.add_argument(
        "--field", dest="fields", type=_field, action="append", metavar="NAME=JSON", help="one more field"
    )
    group.add_argument(
        "--header", dest="headers", type=_header, action="append", metavar="'NAME: VALUE'", help="repeatable"
    )
    group.add_argument("--header-mix", metavar="NAME=VALUE:WEIGHT,...", help="a header whose value is drawn")
    group.add_argument("--abandon", type=float, help="leave this share of requests before the answer is there (0)")
    group.add_argument("--abandon-within-seconds", type=float, help="after a time between 0 and this (1)")
    group.add_argument("--no-check", dest="check", action="store_false", help="don't look into answers")


def _how(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--connections", choices=("keep", "fresh"), help="keep them, or one for each request (keep)")
    group.add_argument("--max-connections", type=int, help="at the same time (1000); requests wait for one beyond that")
    group.add_argument("--timeout-seconds", type=float, help="for a whole answer (30)")
    group.add_argument("--grace-seconds", type=float, help="for answers after the last request (--timeout-seconds + 1)")
    group.add_argument("--processes", type=int, help="share the requests out among so many processes (1)")
    group.add_argument("--ca", type=Path, metavar="FILE", help="certificate authority of https targets")
    group.add_argument("--insecure", action="store_true", help="don't check certificates")


def _told(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--slo-milliseconds", type=float, help="a good answer is whole within this time")
    group.add_argument("--slo-first-token-milliseconds", type=float, help="and its first text within this")
    group.add_argument("--max-lateness-milliseconds", type=float, help="p99 beyond which the sender is saturated (10)")
    group.add_argument("--timeline", type=Path, metavar="FILE.csv", help="write a line for each second")


def _field(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text}: like top_p=0.9")
    return name, value


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text}: like 'X-Tenant: a'")
    return name.strip(), value.strip()


if __name__ == "__main__":
    sys.exit(main())
