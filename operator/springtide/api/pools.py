"""The pools of replicas of a ModelService."""

from typing import Annotated, Literal

from pydantic import Field

from springtide.api.base import ATOMIC_MAP, DNS_LABEL, ApiModel, Int32
from springtide.api.model import MODEL_RULES, PoolModel
from springtide.api.resources import REQUESTS_WITHIN_LIMITS, Amount, Resources
from springtide.api.rules import Rule, Rules
from springtide.api.runtime import IMAGE_RULE, Accelerator, Precision, Runtime
from springtide.api.scaling import Capacity

Tier = Literal["Realtime", "Offline", "Fallback"]

_MAX_RULE = Rule(
    "!has(self.max) || self.max >= (has(self.min) ? self.min : 1)",
    "max must not be less than min (which is 1 unless set)",
    lambda replicas: replicas.max is None or replicas.max >= replicas.min,
    ".max",
)
_PROGRESS_RULE = Rule(
    "(has(self.maxSurge) ? self.maxSurge : 1) + (has(self.maxUnavailable) ? self.maxUnavailable : 0) > 0",
    "maxSurge and maxUnavailable must not both be 0: no pod could ever be replaced",
    lambda update: update.max_surge + update.max_unavailable > 0,
)
_COUNTED_ONCE = Rule(
    """!has(self.accelerator) || !has(self.resources) ||
       !((has(self.resources.limits) && self.accelerator.resourceName in self.resources.limits) ||
         (has(self.resources.requests) && self.accelerator.resourceName in self.resources.requests))""",
    "must not name the resource of accelerator, whose count says how many",
    lambda pool: (
        pool.accelerator is None
        or pool.accelerator.resource_name not in {**pool.resources.limits, **pool.resources.requests}
    ),
    ".resources",
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


class Update(ApiModel):
    """How a pool moves to a new revision."""

    max_surge: Int32 = Field(
        default=1, ge=0, le=1000, description="Replicas that may exist beyond the wanted number meanwhile. Default: 1."
    )
    max_unavailable: Int32 = Field(
        default=0, ge=0, le=1000, description="Replicas that may be missing from the wanted number. Default: 0."
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
    model: Annotated[PoolModel, Rules(*MODEL_RULES)] | None = Field(
        default=None, description="What differs from spec.model in this pool."
    )
    precision: Precision | None = Field(default=None, description="Instead of spec.precision.")
    runtime: Annotated[Runtime, Rules(IMAGE_RULE)] | None = Field(
        default=None, description="What differs from spec.runtime in this pool, field by field."
    )
    accelerator: Accelerator | None = Field(default=None, description="The devices of each pod.")
    resources: Annotated[Resources, Rules(REQUESTS_WITHIN_LIMITS)] = Field(
        default_factory=Resources, description="The requests and limits of each pod."
    )
    replicas: Annotated[Replicas, Rules(_MAX_RULE)] = Field(
        default_factory=Replicas, description="How many replicas the pool has."
    )
    capacity: Capacity | None = Field(default=None, description="What one replica is expected to serve, for scaling.")
    cost_per_hour: Amount | None = Field(
        default=None,
        description="What one replica costs in an hour, in any currency: the pool that is cheapest for its "
        "capacity grows first.",
    )
    update: Annotated[Update, Rules(_PROGRESS_RULE)] = Field(
        default_factory=Update, description="How the pool moves to a new revision, in replicas."
    )
    node_selector: dict[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict,
        max_length=16,
        description="Labels that a node must have to run the pool's pods.",
        json_schema_extra=ATOMIC_MAP,
    )


POOL_RULES = (_COUNTED_ONCE,)
