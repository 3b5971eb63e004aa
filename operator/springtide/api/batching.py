"""How requests wait and run together: what a running server takes over without a restart."""

from typing import Annotated, Any

from pydantic import Field

from springtide.api.base import DNS_LABEL, ApiModel, Int32
from springtide.api.rules import ListMap, Rule, Rules


class Batching(ApiModel):
    """Limits of what is computed together."""

    max_batch_size: Int32 | None = Field(
        default=None, ge=1, le=4096, description="Rows that are computed together at most. Default: the server's, 64."
    )
    max_queue_delay_milliseconds: Int32 | None = Field(
        default=None,
        ge=0,
        le=60000,
        description="How long an idle model may wait for more rows; 0 never waits. Default: the server's, 5.",
    )
    target_memory_percent: Int32 | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Of the memory limit of the pod, or of the GPU, what batches may fill. Default: the server's, 90.",
    )


class Priority(ApiModel):
    """A class of requests."""

    name: str = Field(
        min_length=1,
        max_length=63,
        pattern=DNS_LABEL,
        description="The name of the class, which requests send as X-Priority. Those that send none are of the class "
        "standard, else of the last one that is not sheddable.",
    )
    reserved_percent: Int32 = Field(
        default=0,
        ge=0,
        le=100,
        description="Of the work done while requests of the class wait, it gets at least this. Default: 0.",
    )
    sheddable: bool = Field(
        default=False,
        strict=True,
        description="Whether its requests are refused when the queue is half full, and give up their places first. "
        "Default: false.",
    )


_RESERVED_RULE = Rule(
    "self.map(one, has(one.reservedPercent) ? one.reservedPercent : 0).sum() <= 100",
    "must not reserve more than 100 percent together",
    lambda priorities: sum(one.reserved_percent for one in priorities) <= 100,
)

Priorities = Annotated[tuple[Priority, ...], ListMap("name"), Rules(_RESERVED_RULE)]


def _runs_model_server(spec: Any) -> bool:
    names = [(pool.runtime and pool.runtime.name) or spec.runtime.name or "ModelServer" for pool in spec.pools]
    return "ModelServer" in names


def _only_model_server(field: str, said: str) -> Rule:
    name = "has(self.runtime) && has(self.runtime.name) ? self.runtime.name : 'ModelServer'"
    return Rule(
        f"""!({said}) || self.pools.exists(pool,
            (has(pool.runtime) && has(pool.runtime.name) ? pool.runtime.name : ({name})) == 'ModelServer')""",
        "must be left out: no pool has the runtime ModelServer, which alone acts on it",
        lambda spec: not getattr(spec, field) or _runs_model_server(spec),
        f".{field}",
    )


POLICY_RULES = (
    _only_model_server("batching", "has(self.batching)"),
    _only_model_server("priorities", "has(self.priorities) && size(self.priorities) > 0"),
)
