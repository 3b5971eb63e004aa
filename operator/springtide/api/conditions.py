"""The status of a ModelService."""

from typing import Literal

from pydantic import Field

from springtide.api.base import ApiModel, Int32, Int64, list_map
from springtide.api.scaled import Decimal, ReadySeconds, ScalingStatus

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(ApiModel):
    """One aspect of the state, as metav1.Condition."""

    type: str = Field(min_length=1, max_length=316, description="Which aspect.")
    status: ConditionStatus = Field(description="Whether it holds.")
    observed_generation: Int64 = Field(default=0, ge=0, description="The generation of the spec that was judged.")
    last_transition_time: str = Field(
        max_length=64, description="When status last changed.", json_schema_extra={"format": "date-time"}
    )
    reason: str = Field(
        min_length=1, max_length=256, pattern="^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$", description="Why, for programs."
    )
    message: str = Field(max_length=4096, description="Why, and what to do, for people.")


class PoolStatus(ApiModel):
    """The state of one pool."""

    name: str = Field(min_length=1, max_length=40, description="The name of the pool.")
    desired: Int32 = Field(ge=0, description="The replicas it should have.")
    replicas: Int32 = Field(ge=0, description="The replicas it has, of any revision.")
    ready: Int32 = Field(ge=0, description="The replicas that are ready.")
    updated: Int32 = Field(ge=0, description="The replicas of the newest revision.")
    revision: str = Field(
        default="",
        max_length=64,
        description="The newest revision, as in the label springtide.dev/revision of its pods.",
    )
    recommended: Int32 | None = Field(
        default=None, ge=0, description="The replicas that it would have, where scaling is in mode Observe."
    )
    capacity: Decimal | None = Field(
        default=None, description="What one replica was measured to serve, in requests a second."
    )
    ready_seconds: ReadySeconds | None = Field(default=None, description="How long its replicas take to be ready.")


class ModelServiceStatus(ApiModel):
    """What is, as the operator last saw it."""

    observed_generation: Int64 = Field(
        default=0,
        ge=-1,
        description="The generation of the spec that was acted on; -1 at first.",
    )
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        description="The state: Accepted, Available, Ready, Scaled and ForecastReady; Reconciling and Stalled only "
        "while they are True.",
        json_schema_extra=list_map("type"),
    )
    replicas: Int32 = Field(default=0, ge=0, description="The replicas that the first pool has, for kubectl scale.")
    ready_replicas: Int32 = Field(default=0, ge=0, description="The replicas of the first pool that are ready.")
    target_replicas: Int32 = Field(default=0, ge=0, description="The replicas that the first pool should have.")
    selector: str = Field(
        default="", max_length=1024, description="The label selector of the first pool's pods, for autoscalers."
    )
    url: str = Field(
        default="",
        max_length=512,
        description="Where the model answers inside the cluster. Empty when every pool is Offline.",
    )
    pools: tuple[PoolStatus, ...] = Field(
        default=(), max_length=16, description="The state of each pool.", json_schema_extra=list_map("name")
    )
    scaling: ScalingStatus | None = Field(default=None, description="What scaling decided and learned.")
