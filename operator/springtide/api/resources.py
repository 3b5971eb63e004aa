"""Requests and limits, as in a container of core/v1."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from springtide.api.base import QUANTITY, ApiModel, rule, validations
from springtide.api.quantity import parse_quantity


def _checked(amount: int | str) -> int | str:
    parse_quantity(amount)
    return amount


Amount = Annotated[
    int | str,
    AfterValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY,
            "maxLength": 32,
        }
    ),
]

_RESOURCE_NAMES = rule(
    """self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] || name.startsWith('hugepages-')
       || name.contains('/'))""",
    "a resource is cpu, memory, ephemeral-storage, hugepages-SIZE, or has a domain as in nvidia.com/gpu",
)


def _amounts(description: str) -> Any:
    return Field(
        default_factory=dict,
        max_length=16,
        description=description,
        json_schema_extra=validations(_RESOURCE_NAMES),
    )


REQUESTS_WITHIN_LIMITS = rule(
    """!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) ||
       quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)""",
    "requests must not exceed limits",
    ".requests",
)


class Resources(ApiModel):
    """The requests and limits of one pod, as in a container of core/v1."""

    requests: dict[str, Amount] = _amounts("What the scheduler sets aside for one pod.")
    limits: dict[str, Amount] = _amounts("What one pod can't exceed, enforced by cgroups.")
