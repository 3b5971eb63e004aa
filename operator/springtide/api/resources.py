"""Requests and limits, as in a container of core/v1."""

from typing import Annotated, Any

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from springtide.api.base import QUANTITY, ApiModel
from springtide.api.quantity import parse_quantity
from springtide.api.rules import Rule, Rules, matches

_LONGEST = 32


def _checked(amount: object) -> int | str:
    if not isinstance(amount, int | str) or isinstance(amount, bool):
        raise PydanticCustomError("amount", "must be an integer or a string such as 500m or 4Gi")
    if len(str(amount)) > _LONGEST or not matches(str(amount), QUANTITY):
        raise PydanticCustomError("amount", "must be an amount such as 500m, 2 or 4Gi")
    return amount


Amount = Annotated[
    int | str,
    # not a union, whose errors would come twice
    PlainValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY,
            "maxLength": _LONGEST,
        }
    ),
]

_RESOURCE_NAMES = Rule(
    """self.all(name, name in ['cpu', 'memory', 'ephemeral-storage'] || name.startsWith('hugepages-')
       || name.contains('/'))""",
    "a resource is cpu, memory, ephemeral-storage, hugepages-SIZE, or has a domain as in nvidia.com/gpu",
    lambda amounts: all(
        name in {"cpu", "memory", "ephemeral-storage"} or name.startswith("hugepages-") or "/" in name
        for name in amounts
    ),
)

Amounts = Annotated[dict[str, Amount], Rules(_RESOURCE_NAMES)]


def _amounts(description: str) -> Any:
    return Field(default_factory=dict, max_length=16, description=description)


REQUESTS_WITHIN_LIMITS = Rule(
    """!has(self.requests) || !has(self.limits) || self.requests.all(name, !(name in self.limits) ||
       quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)""",
    "requests must not exceed limits",
    lambda resources: all(
        parse_quantity(amount) <= parse_quantity(resources.limits.get(name, amount))
        for name, amount in resources.requests.items()
    ),
    ".requests",
)


class Resources(ApiModel):
    """The requests and limits of one pod, as in a container of core/v1."""

    requests: Amounts = _amounts("What the scheduler sets aside for one pod.")
    limits: Amounts = _amounts("What one pod can't exceed, enforced by cgroups.")
