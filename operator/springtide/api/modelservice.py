"""ModelService: one model served by pools of replicas."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from springtide.api.base import GROUP, ApiModel, Int32
from springtide.api.batching import POLICY_RULES, Batching, Priorities
from springtide.api.conditions import ModelServiceStatus
from springtide.api.model import MODEL_RULES, Cache, Model
from springtide.api.pools import POOL_RULES, Pool
from springtide.api.rules import ListMap, Rule, Rules, check, matches
from springtide.api.runtime import IMAGE_RULE, Precision, Runtime
from springtide.api.scaling import SCALING_RULES, Objectives, Scaling

RESTARTED_AT = f"{GROUP}/restartedAt"

_FETCHED = ("hf://", "s3://")


class ModelServiceSpec(ApiModel):
    """What is wanted."""

    model: Annotated[Model, Rules(*MODEL_RULES)] = Field(description="The model that is served.")
    precision: Precision | None = Field(
        default=None,
        description="The number format that the model runs in, where a pool says nothing else. INT8 has weights of 8 "
        "bits, W8A8 activations as well: both are for ModelServer, which measures what they cost when it loads. FP8 is "
        "for VLLM and SGLang. Default: the runtime's choice.",
    )
    runtime: Annotated[Runtime, Rules(IMAGE_RULE)] = Field(
        default_factory=Runtime, description="What runs the model, where a pool says nothing else."
    )
    cache: Cache | None = Field(default=None, description="Where models from hf:// and s3:// are kept.")
    pools: Annotated[tuple[Annotated[Pool, Rules(*POOL_RULES)], ...], ListMap("name")] = Field(
        min_length=1,
        max_length=16,
        description="The pools of replicas. The first one is what kubectl scale acts on.",
    )
    batching: Batching | None = Field(
        default=None,
        description="What pools of the runtime ModelServer compute together. A change restarts no pod.",
    )
    priorities: Priorities = Field(
        default=(),
        max_length=8,
        description="The classes of requests in pools of the runtime ModelServer, the best first. A change restarts no "
        "pod. Default: the server's: critical with 20 percent reserved, standard, and background, which is sheddable.",
    )
    objectives: Objectives = Field(
        default_factory=Objectives, description="What clients may expect. Scaling keeps as many replicas as it needs."
    )
    scaling: Scaling = Field(
        default_factory=Scaling, description="How the number of replicas of pools with replicas.max follows traffic."
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

SPEC_RULES = (
    Rule(
        """!has(self.replicas) || size(self.pools) == 0 || !has(self.pools[0].replicas)
           || !has(self.pools[0].replicas.max) || self.replicas <= self.pools[0].replicas.max""",
        "must not exceed spec.pools[0].replicas.max",
        lambda spec: (
            spec.replicas is None or spec.pools[0].replicas.max is None or spec.replicas <= spec.pools[0].replicas.max
        ),
        ".replicas",
    ),
    Rule(
        """!has(self.cache) || self.model.uri.matches('^(hf|s3)://') ||
           self.pools.exists(pool, has(pool.model) && has(pool.model.uri) && pool.model.uri.matches('^(hf|s3)://'))""",
        "must be left out: no model is fetched, since only hf:// and s3:// are",
        lambda spec: (
            spec.cache is None
            or spec.model.uri.startswith(_FETCHED)
            or any(pool.model and pool.model.uri and pool.model.uri.startswith(_FETCHED) for pool in spec.pools)
        ),
        ".cache",
    ),
    *POLICY_RULES,
    *SCALING_RULES,
)


class Metadata(ApiModel):
    """The metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    restarted_at: str = ""


class ModelService(ApiModel):
    """A model served by pools of replicas."""

    metadata: Metadata
    spec: Annotated[ModelServiceSpec, Rules(*SPEC_RULES)]

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        check(self, *NAME_RULES)
        return self


class ModelServiceSchema(ApiModel):
    """A ModelService serves one model by pools of replicas, and names the address where they answer."""

    spec: Annotated[ModelServiceSpec, Rules(*SPEC_RULES)] = Field(description="What is wanted.")
    status: ModelServiceStatus | None = Field(default=None, description="What is, as the operator last saw it.")
