"""ModelService: one model served by pools of replicas."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from springtide.api.base import (
    ATOMIC_LIST,
    ATOMIC_MAP,
    DNS_LABEL,
    ApiModel,
    Int32,
)
from springtide.api.conditions import ModelServiceStatus
from springtide.api.resources import REQUESTS_WITHIN_LIMITS, Resources
from springtide.api.rules import ListMap, Rule, Rules, check, matches

Task = Literal["Generate", "Embed"]
RuntimeName = Literal["ModelServer"]
Tier = Literal["Realtime", "Offline", "Fallback"]
Argument = Annotated[str, Field(max_length=4096)]


_URI = (
    r"^oci://[a-zA-Z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+"
    r"(:[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})?(@sha256:[a-f0-9]{64})?$"
)
_URI_RULES = Rules(
    Rule(
        "self.startsWith('oci://')",
        "must begin with oci://, as in oci://registry.example.com/models/chat:v1; no other scheme is served",
        lambda uri: uri.startswith("oci://"),
    ),
    Rule(
        f"!self.startsWith('oci://') || self.matches('{_URI}')",
        "must be oci://REGISTRY/REPOSITORY with an optional :TAG or @sha256:DIGEST",
        lambda uri: not uri.startswith("oci://") or matches(uri, _URI),
    ),
)

# The last part of the path holds neither a tag nor a digest; a ':' before it belongs to the port.
_PLAIN_URI = "^[^@]*/[^:@/]*$"
_REVISION_RULE = Rule(
    f"!has(self.revision) || self.uri.matches('{_PLAIN_URI}')",
    "must be left out: uri already has a tag or a digest",
    lambda model: model.revision is None or matches(model.uri, _PLAIN_URI),
    ".revision",
)

_MAX_RULE = Rule(
    "!has(self.max) || self.max >= (has(self.min) ? self.min : 1)",
    "max must not be less than min (which is 1 unless set)",
    lambda replicas: replicas.max is None or replicas.max >= replicas.min,
    ".max",
)


class Model(ApiModel):
    """The model that is served."""

    uri: Annotated[str, _URI_RULES] = Field(
        min_length=1,
        max_length=1024,
        description="Where the model is: oci://REGISTRY/REPOSITORY, with :TAG or @sha256:DIGEST unless revision says "
        "it. The image holds the files of a Hugging Face model folder; the kubelet pulls and keeps it, and pods mount "
        "it read-only.",
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=r"^(sha256:[a-f0-9]{64}|[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127})$",
        description="The tag or the digest (sha256:...) of the image, when uri has neither. Default: latest.",
    )
    task: Task = Field(
        default="Generate",
        description="What the model does: Generate answers chats and completions, Embed turns text into vectors. "
        "Default: Generate.",
    )


class Runtime(ApiModel):
    """What runs the model."""

    name: RuntimeName = Field(
        default="ModelServer",
        description="ModelServer is Springtide's own server (PyTorch). Default: ModelServer.",
    )
    image: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        pattern=r"^\S+$",
        description="The container image of the runtime. Default: the one that the operator was installed with.",
    )
    args: tuple[Argument, ...] = Field(
        default=(),
        max_length=64,
        description="Arguments appended to the runtime's own.",
        json_schema_extra=ATOMIC_LIST,
    )


class Replicas(ApiModel):
    """How many replicas a pool has."""

    min: Int32 = Field(
        default=1,
        ge=1,
        le=10000,
        description="The replicas that are always kept, unless spec.replicas pins another number. Default: 1.",
    )
    max: Int32 | None = Field(
        default=None,
        ge=1,
        le=10000,
        description="The most replicas the pool may have: a larger spec.replicas is refused.",
    )


class Pool(ApiModel):
    """A set of equal replicas of the model."""

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=DNS_LABEL,
        description="The name of the pool. Its Deployment and its Service are called SERVICE-POOL.",
    )
    tier: Tier = Field(
        default="Realtime",
        description="Realtime and Fallback pools answer through the Service of the ModelService; an Offline pool only "
        "through its own, SERVICE-POOL. A change from or to Offline replaces the pool's pods. Default: Realtime.",
    )
    resources: Annotated[Resources, Rules(REQUESTS_WITHIN_LIMITS)] = Field(
        default_factory=Resources, description="The requests and limits of each pod."
    )
    replicas: Annotated[Replicas, Rules(_MAX_RULE)] = Field(
        default_factory=Replicas, description="How many replicas the pool has."
    )
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Labels that a node must have to run the pool's pods.",
        json_schema_extra=ATOMIC_MAP,
    )


class ModelServiceSpec(ApiModel):
    """What is wanted."""

    model: Annotated[Model, Rules(_REVISION_RULE)] = Field(description="The model that is served.")
    runtime: Runtime = Field(default_factory=Runtime, description="What runs the model.")
    pools: Annotated[tuple[Pool, ...], ListMap("name")] = Field(
        min_length=1,
        max_length=16,
        description="The pools of replicas. The first one is what kubectl scale acts on.",
    )
    replicas: Int32 | None = Field(
        default=None,
        ge=0,
        le=10000,
        description="Pins the first pool to this number of replicas, as kubectl scale does. Without it the pool has "
        "replicas.min. 0 stops the pool. The scale subresource can be read only while this is set, so an "
        "autoscaler needs it; kubectl scale sets it.",
    )


# metadata.name is visible to rules of the root only. A Service's name is a DNS-1035 label.
_SERVICE_NAME = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_RULES = (
    Rule(
        f"self.metadata.name.matches('{_SERVICE_NAME}')",
        "metadata.name must begin with a letter and hold only small letters, digits and '-': it names Services",
        lambda service: matches(service.metadata.name, _SERVICE_NAME),
    ),
    Rule(
        """!has(self.spec.pools) || self.spec.pools.all(pool, size(self.metadata.name) + 1 + size(pool.name) <= 63)""",
        "spec.pools[].name is too long: metadata.name, "
        "'-' and the name of the pool must fit in 63 characters together, since they name a Service",
        lambda service: all(len(service.metadata.name) + 1 + len(pool.name) <= 63 for pool in service.spec.pools),
        ".spec.pools",
    ),
)

PIN_RULE = Rule(
    """!has(self.replicas) || size(self.pools) == 0 || !has(self.pools[0].replicas) || !has(self.pools[0].replicas.max)
       || self.replicas <= self.pools[0].replicas.max""",
    "must not exceed spec.pools[0].replicas.max",
    lambda spec: (
        spec.replicas is None or spec.pools[0].replicas.max is None or spec.replicas <= spec.pools[0].replicas.max
    ),
    ".replicas",
)


class Metadata(ApiModel):
    """The metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 0


class ModelService(ApiModel):
    """A model served by pools of replicas."""

    metadata: Metadata
    spec: Annotated[ModelServiceSpec, Rules(PIN_RULE)]

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        check(self, *NAME_RULES)
        return self


class ModelServiceSchema(ApiModel):
    """A ModelService serves one model by pools of replicas, and names the address where they answer."""

    spec: Annotated[ModelServiceSpec, Rules(PIN_RULE)] = Field(description="What is wanted.")
    status: ModelServiceStatus | None = Field(default=None, description="What is, as the operator last saw it.")
