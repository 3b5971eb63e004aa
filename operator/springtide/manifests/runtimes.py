"""What each runtime needs of its container: data, of which a ModelService may override most.

Arguments name what a container finds in its environment as $(NAME), which Kubernetes puts in: MODEL_PATH, MODEL_NAME,
PORT, ACCELERATORS and DRAIN_SECONDS. Sources: `vllm serve --help` of vLLM, `python -m sglang.launch_server --help` of
SGLang 0.5, and their HTTP endpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from springtide.api.model import Task
from springtide.api.runtime import Precision, RuntimeName

Words = tuple[str, ...]

# Once told to stop, a pod serves on until every node's rules have learnt that it is gone.
ROUTE_SECONDS = 5

# Where a server finds what it is to do from now on; the file comes and changes with a ConfigMap.
POLICY_FOLDER, POLICY_FILE = "/etc/springtide", "policy.json"


@dataclass(frozen=True)
class Profile:
    """How a runtime is started and asked how it is.

    A task or a precision that is missing here is one that the runtime can't do; "" is the precision of a service that
    names none. `stays` is whether the server itself keeps serving for a while when it is told to stop; for the others
    the kubelet waits. `takes_policy` is whether it acts by POLICY_FILE while it runs.
    """

    command: Words = ()
    args: Words = ()
    tasks: Mapping[Task, Words] = field(default_factory=dict)
    precisions: Mapping[Precision | str, Words] = field(default_factory=dict)
    split: Words = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 8000
    readiness_path: str = "/health"
    liveness_path: str = "/health"
    metrics_path: str = "/metrics"
    startup_seconds: int = 1800
    drain_seconds: int = 30
    stays: bool = False
    shared_memory: bool = False
    takes_policy: bool = False


# The root is read-only and the user has no name, so libraries that keep caches in a home need to be told of one.
_HOME = {"HOME": "/tmp", "USER": "springtide"}  # noqa: S108
_OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
_OURS: tuple[Precision, ...] = ("FP32", "BF16", "FP16", "INT8", "W8A8")
# INT8 is missing: both take it only from a folder that somebody has quantised before, and then need not be told.
_THEIRS: Mapping[Precision | str, Words] = {
    "": (),
    "FP32": ("--dtype", "float32"),
    "BF16": ("--dtype", "bfloat16"),
    "FP16": ("--dtype", "float16"),
    "FP8": ("--quantization", "fp8"),
}

PROFILES: Mapping[RuntimeName, Profile] = {
    "ModelServer": Profile(
        command=("springtide-model-server",),
        args=(
            *("--model", "$(MODEL_PATH)"),
            *("--served-model-name", "$(MODEL_NAME)"),
            *("--port", "$(PORT)"),
            *("--drain-seconds", str(ROUTE_SECONDS)),
            *("--shutdown-seconds", "$(DRAIN_SECONDS)"),
            *("--policy", f"{POLICY_FOLDER}/{POLICY_FILE}"),
        ),
        tasks={"Generate": ("--task", "Generate"), "Embed": ("--task", "Embed")},
        precisions={"": (), **{one: ("--precision", one) for one in _OURS}},
        environment=_HOME,
        readiness_path="/readyz",
        liveness_path="/healthz",
        stays=True,
        takes_policy=True,
    ),
    "VLLM": Profile(
        command=("vllm", "serve"),
        args=(
            "$(MODEL_PATH)",
            *("--served-model-name", "$(MODEL_NAME)"),
            *("--host", "0.0.0.0"),  # noqa: S104
            *("--port", "$(PORT)"),
            *("--shutdown-timeout", "$(DRAIN_SECONDS)"),
        ),
        tasks={"Generate": (), "Embed": ("--runner", "pooling")},
        precisions=_THEIRS,
        split=("--tensor-parallel-size", "$(ACCELERATORS)"),
        environment={**_HOME, **_OFFLINE, "VLLM_NO_USAGE_STATS": "1"},
        shared_memory=True,
    ),
    "SGLang": Profile(
        command=("python3", "-m", "sglang.launch_server"),
        args=(
            *("--model-path", "$(MODEL_PATH)"),
            *("--served-model-name", "$(MODEL_NAME)"),
            *("--host", "0.0.0.0"),  # noqa: S104
            *("--port", "$(PORT)"),
            "--enable-metrics",
        ),
        tasks={"Generate": (), "Embed": ("--is-embedding",)},
        precisions=_THEIRS,
        split=("--tp-size", "$(ACCELERATORS)"),
        environment={**_HOME, **_OFFLINE},
        shared_memory=True,
    ),
    # What its author knows of it, the author writes.
    "Custom": Profile(
        tasks={"Generate": (), "Embed": ()},
        precisions={"": ()},
        environment=_HOME,
    ),
}
