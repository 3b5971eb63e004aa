"""The command `springtide-model-server`."""

from springtide_server import early  # noqa: F401, I001  # first, since the others take a second

import argparse
import math
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from springtide_server import folder, logs, priorities
from springtide_server.cache import options as cache_options
from springtide_server.ending import end, exit_now
from springtide_server.errors import ModelError
from springtide_server.precision import Fallback, Precision, PrecisionPolicy
from springtide_server.protocol import Task
from springtide_server.server import Settings, listen, serve

PROGRAM = "springtide-model-server"
BAD_MODEL, FAILED = 2, 1


def main() -> None:
    """Check the folder, then serve until a signal; exits with 0, or 2 when the model can't be served."""
    settings = _arguments()
    logs.configure()
    _set_environment()
    try:
        folder.check(settings.model, settings.task)
        listener = listen(settings.host, settings.port)
    except ModelError as error:
        end(PROGRAM, str(error), BAD_MODEL)
    except OSError as error:
        end(PROGRAM, f"can't listen on {settings.host} port {settings.port}: {error.strerror or error}", FAILED)
    try:
        serve(settings, listener)
    except ModelError as error:
        end(PROGRAM, str(error), BAD_MODEL)
    exit_now(0)


def _arguments() -> Settings:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Serves one Hugging Face model folder with an OpenAI-compatible API.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, type=Path, metavar="DIR", help="folder with config.json, safetensors and tokenizer")
    add("--served-model-name", required=True, metavar="NAME", help="what clients send as `model`")
    add("--task", required=True, choices=get_args(Task), help="what the model is for")
    add(
        "--precision",
        default="Auto",
        choices=get_args(Precision),
        help="the number format; INT8 has weights of 8 bits, W8A8 activations too; Auto: BF16 on a GPU, else FP32",
    )
    add(
        "--precision-max-drop-percent",
        default=1.0,
        type=_percent,
        help="accuracy that INT8 and W8A8 may cost, measured at load: Embed, 1 - mean cosine; Generate, perplexity",
    )
    add(
        "--precision-fallback",
        default="Auto",
        choices=get_args(Fallback),
        help="when they cost more. Auto: serve in what Auto is, and say so; None: refuse to start",
    )
    add("--compile", action="store_true", help="Embed: fuse operators with torch.compile; needs a C++ compiler")
    add("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104 (a pod is reached from outside)
    add("--port", default=8000, type=_at_least(0), help="port to listen on; 0 takes a free one")
    add("--drain-seconds", default=5, type=_at_least(0), help="after SIGTERM: not ready, but still serving")
    add("--shutdown-seconds", default=25, type=_at_least(1), help="then: time for requests that have begun")
    add("--max-queue", default=256, type=_at_least(1), help="requests that may wait; more get 429")
    add("--max-queue-tokens", default=1 << 20, type=_at_least(1), help="tokens of all requests that wait")
    add(
        "--request-timeout-milliseconds",
        default=0,
        type=_at_least(0),
        help="deadline of requests without X-Request-Timeout-Ms; 0: none",
    )
    add("--max-batch-size", default=64, type=_at_least(1), help="Embed: rows computed together at most")
    add("--max-batch-tokens", default=16384, type=_at_least(1), help="Embed: the same in tokens, padding counted")
    add(
        "--max-queue-delay-milliseconds",
        default=5,
        type=_at_least(0),
        help="Embed: the model is kept idle for more rows at most this long; 0 never waits",
    )
    add("--target-memory-percent", default=90, type=_at_least(1, 100), help="of the memory limit that may be used")
    add(
        "--max-sequences",
        default=0,
        type=_at_least(0),
        help="Generate: requests computed together at most; 0: 64 on a CPU, 256 on a GPU",
    )
    add(
        "--max-step-tokens",
        default=0,
        type=_at_least(0),
        help="Generate: tokens computed together at most; 0: 512 on a CPU, 4096 on a GPU",
    )
    add(
        "--kv-cache-mebibytes",
        default=0,
        type=_at_least(0),
        help="Generate: memory of the KV cache; 0: what the memory limit leaves",
    )
    add(
        "--kv-host-mebibytes",
        default=0,
        type=_at_least(0),
        help="Generate: host memory for what leaves a GPU's KV cache and may be asked again",
    )
    add(
        "--prefix-cache",
        default=True,
        action=argparse.BooleanOptionalAction,
        help="Generate: keep what was computed of a prompt for others that begin the same",
    )
    add(
        "--priority",
        action="append",
        default=[],
        type=_priority,
        dest="priorities",
        metavar="NAME[:reservedPercent][:sheddable][:default]",
        help="a class of requests, the best first; may be given several times (none: critical:20, standard, "
        "background:sheddable)",
    )
    add(
        "--policy",
        type=Path,
        metavar="FILE",
        help="JSON that overrides the priorities and the limits of batches, and is read again when it changes",
    )
    add(
        "--hang-seconds",
        default=120,
        type=_at_least(0),
        help="/healthz fails after so long a step of the model; 0: never",
    )
    add("--load-report", action="store_true", help="send endpoint-load-metrics with API answers, for gateways")
    add("--enable-profiling", action="store_true", help="serve /debug/profile, to whoever reaches the port")
    add("--model-revision", default="", metavar="NAME", help="names the model's content in the cache; none: its hash")
    cache_options.add(parser)
    values = vars(parser.parse_args())
    values["priorities"] = tuple(values["priorities"]) or priorities.DEFAULTS
    try:
        priorities.check(values["priorities"])
    except ValueError as error:
        parser.error(f"argument --priority: {error}")
    try:
        values["result_cache"] = cache_options.take(values)
    except ValueError as error:
        parser.error(f"argument --result-cache-url: {error}")
    if values["compile"] and values["task"] != "Embed":
        parser.error("argument --compile: is for --task Embed")
    fields = {
        "asked": "precision",
        "max_drop_percent": "precision_max_drop_percent",
        "fallback": "precision_fallback",
        "compile": "compile",
    }
    policy = {field: values.pop(option) for field, option in fields.items()}
    return Settings(precision=PrecisionPolicy(**policy), **values)


def _priority(text: str) -> priorities.PriorityClass:
    try:
        return priorities.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _percent(text: str) -> float:
    if not 0 <= float(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 100")
    return float(text)


def _at_least(lowest: int, highest: float = math.inf) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text} is less than {lowest}")
        if int(text) > highest:
            raise argparse.ArgumentTypeError(f"{text} is more than {highest}")
        return int(text)

    return number


def _set_environment() -> None:
    """What libraries read when they are imported, which is later."""
    # The model is a folder: nothing is to be looked up elsewhere, and only the temporary folder may be written.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ.setdefault("HF_HOME", str(Path(tempfile.gettempdir(), "huggingface")))
    # Threads that spin at a barrier may take the CPU from the one they wait for where CPUs are shared. It costs a tenth
    # on idle cores and guards against a collapse seen in one of two rounds on busy ones (docs/benchmarks.md).
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


if __name__ == "__main__":
    main()
