"""What a status tells of scaling."""

from typing import Annotated

from pydantic import Field

from springtide.api.base import ApiModel, Int32, list_map
from springtide.api.scaling import ScalingMode

MOST_DECISIONS = 10

Decimal = Annotated[str, Field(max_length=32, pattern=r"^-?[0-9]+(\.[0-9]+)?$")]


class Number(ApiModel):
    """A number with its name."""

    name: str = Field(min_length=1, max_length=63, description="What it is.")
    value: Decimal = Field(description="A decimal number, as in -1.25.")


class PoolChange(ApiModel):
    """What a decision means for one pool."""

    name: str = Field(min_length=1, max_length=40, description="The name of the pool.")
    before: Int32 = Field(ge=0, description="The replicas that it should have had.")
    after: Int32 = Field(ge=0, description="The replicas that it should have since then.")


class ScalingDecision(ApiModel):
    """A decision that changed the number of replicas, or that would have with mode Auto."""

    time: str = Field(max_length=64, description="When it was made.", json_schema_extra={"format": "date-time"})
    mode: ScalingMode = Field(description="With Observe it was not acted on.")
    reason: str = Field(min_length=1, max_length=256, description="Why, for programs.")
    message: str = Field(max_length=1024, description="Why, for people.")
    pools: tuple[PoolChange, ...] = Field(
        max_length=16, description="The pools that it changed.", json_schema_extra=list_map("name")
    )
    inputs: tuple[Number, ...] = Field(
        default=(),
        max_length=32,
        description="What it was made from; rates are in requests a second.",
        json_schema_extra=list_map("name"),
    )


class ScalingStatus(ApiModel):
    """What was decided, and what was learned for the next decisions."""

    decisions: tuple[ScalingDecision, ...] = Field(
        default=(),
        max_length=MOST_DECISIONS,
        description="The last decisions that changed something, the newest first.",
        json_schema_extra=list_map("time"),
    )
    learned: tuple[Number, ...] = Field(
        default=(),
        max_length=32,
        description="What the operator goes on from when it starts again; brought up to date every ten minutes.",
        json_schema_extra=list_map("name"),
    )
    learned_at: str = Field(
        default="", max_length=64, description="When that was written.", json_schema_extra={"format": "date-time"}
    )


class ReadySeconds(ApiModel):
    """The time from a pod's creation until it is ready, measured over the last starts."""

    p50: Int32 = Field(ge=0, description="Half of the starts took no longer, in seconds.")
    p95: Int32 = Field(ge=0, description="95 percent of the starts took no longer, in seconds.")
