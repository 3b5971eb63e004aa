"""What runs a model, and on what."""

from typing import Annotated, Literal

from pydantic import Field

from springtide.api.base import ATOMIC_LIST, ApiModel, Int32
from springtide.api.rules import ListMap, Rule

RuntimeName = Literal["ModelServer", "VLLM", "SGLang", "Custom"]
Precision = Literal["FP32", "BF16", "FP16", "FP8", "INT8", "W8A8"]
Text = Annotated[str, Field(max_length=4096)]
HttpPath = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^/\S*$")]

IMAGE_RULE = Rule(
    "!has(self.name) || self.name != 'Custom' || has(self.image)",
    "is required with name Custom",
    lambda runtime: runtime.name != "Custom" or runtime.image is not None,
    ".image",
)


class EnvironmentVariable(ApiModel):
    """A variable of the container's environment."""

    name: str = Field(
        min_length=1, max_length=256, pattern="^[A-Za-z_][A-Za-z0-9_]*$", description="The name of the variable."
    )
    value: str = Field(default="", max_length=8192, description="Its value; $(OTHER) stands for that of another one.")


class Runtime(ApiModel):
    """What runs the model."""

    name: RuntimeName | None = Field(
        default=None,
        description="ModelServer is Springtide's own server (PyTorch). VLLM and SGLang are the projects of that name. "
        "Custom is any server that speaks HTTP: it has no arguments of its own, so write them with $(MODEL_PATH), "
        "$(MODEL_NAME) and $(PORT), which every container has in its environment. Default: ModelServer. A pool that "
        "names another runtime than spec.runtime takes nothing else of spec.runtime.",
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=r"^\S+$",
        description="The container image of the runtime. Default: the one that the operator was installed with; "
        "Custom has none.",
    )
    command: tuple[Text, ...] = Field(
        default=(),
        max_length=64,
        description="What the container runs instead of the runtime's own program.",
        json_schema_extra=ATOMIC_LIST,
    )
    args: tuple[Text, ...] = Field(
        default=(),
        max_length=64,
        description="Arguments appended to the runtime's own.",
        json_schema_extra=ATOMIC_LIST,
    )
    env: Annotated[tuple[EnvironmentVariable, ...], ListMap("name")] = Field(
        default=(), max_length=64, description="Variables added to the runtime's own environment, or set otherwise."
    )
    port: Int32 | None = Field(
        default=None, ge=1024, le=65535, description="The port of the server in the pod. Default: 8000."
    )
    readiness_path: HttpPath | None = Field(
        default=None,
        description="Where GET gives 200 while the server can serve. Default: the runtime's; Custom: /health.",
    )
    liveness_path: HttpPath | None = Field(
        default=None,
        description="Where GET gives 200 unless the server must be restarted. Default: the runtime's; Custom: /health.",
    )
    metrics_path: HttpPath | None = Field(
        default=None,
        description="Where Prometheus finds the server's metrics. Default: /metrics.",
    )
    startup_seconds: Int32 | None = Field(
        default=None,
        ge=10,
        le=86400,
        description="How long a server may load its model before it is restarted. Default: 1800.",
    )
    drain_seconds: Int32 | None = Field(
        default=None,
        ge=1,
        le=3600,
        description="How long requests in flight may go on when a pod has to stop. Default: 30.",
    )


class Accelerator(ApiModel):
    """Devices of a pod, such as GPUs."""

    type: Literal["DevicePlugin"] = Field(
        description="DevicePlugin: a resource of the node that a device plugin offers."
    )
    resource_name: str = Field(
        min_length=3,
        max_length=317,
        pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        description="The resource, such as nvidia.com/gpu. Pods tolerate the taint of that name.",
    )
    count: Int32 = Field(
        default=1,
        ge=1,
        le=64,
        description="Devices per pod; VLLM and SGLang split the model over them. Default: 1.",
    )
