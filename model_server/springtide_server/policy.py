"""The runtime policy: what may change while the server runs. Pure: from the text of a file to what is to act."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from springtide_server import priorities
from springtide_server.priorities import PriorityClass
from springtide_server.protocol import field_path

Feature = Literal["Logprobs", "PrefixCache", "ResultCache"]
"""What can be turned off. Answers are the same without it, but for log-probabilities, which are null then."""


@dataclass(frozen=True)
class RuntimePolicy:
    """What acts. The command line gives one, of which a file overrides what it names."""

    priorities: Sequence[PriorityClass]
    max_batch_size: int
    """In rows."""
    max_queue_delay_milliseconds: float
    target_memory_percent: int
    max_output_tokens: int | None = None
    """Of one answer; a request that asks for more has this."""
    shed_classes: frozenset[str] = frozenset()
    """Classes whose requests are refused."""
    features_off: frozenset[Feature] = frozenset()


class _Part(BaseModel):
    # The names of the file are those of a ModelService.
    model_config = ConfigDict(strict=True, extra="forbid", alias_generator=to_camel)


class _Priority(_Part):
    name: str = Field(pattern=f"^{priorities.NAME.pattern}$")
    reserved_percent: int = Field(0, ge=0, le=100)
    sheddable: bool = False


class _Batching(_Part):
    max_batch_size: int | None = Field(None, ge=1)
    max_queue_delay_milliseconds: int | None = Field(None, ge=0)
    target_memory_percent: int | None = Field(None, ge=1, le=100)


class _File(_Part):
    priorities: list[_Priority] | None = None
    batching: _Batching = _Batching()
    max_output_tokens: int | None = Field(None, ge=1)
    shed_classes: list[str] = []
    features_off: list[Feature] = []


def parse(text: bytes, base: RuntimePolicy) -> RuntimePolicy:
    """The base with what the file says; raises ValueError that names the field at fault."""
    try:
        file = _File.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(_problem(error)) from None
    classes = base.priorities
    if file.priorities is not None:
        classes = tuple(PriorityClass(one.name, one.reserved_percent, one.sheddable) for one in file.priorities)
        try:
            priorities.check(classes)
        except ValueError as error:
            raise ValueError(f"priorities: {error}") from None
    names = [one.name for one in classes]
    for index, name in enumerate(file.shed_classes):
        if name not in names:
            raise ValueError(f"shedClasses[{index}]: there is no priority {name!r}; name one of {', '.join(names)}")
    said = file.batching.model_dump(exclude_none=True)
    if file.max_output_tokens is not None:
        said["max_output_tokens"] = file.max_output_tokens
    refused, off = frozenset(file.shed_classes), frozenset(file.features_off)
    return replace(base, priorities=classes, shed_classes=refused, features_off=off, **said)


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    known = {"missing": "is required", "extra_forbidden": "is not known; leave it out"}
    message = known.get(first["type"], first["msg"])
    return f"{field_path(first['loc']) or 'the file'}: {message[0].lower()}{message[1:]}"
