"""Rules across fields: each one as CEL for the API server and as Python for everyone else, side by side.

No CEL interpreter for Python is light enough to be a dependency, so a rule is written twice. It can't be written once:
`Rule` wants both, and what attaches a rule to a field puts the CEL into the schema and the Python into the validation.
One table of good and bad specs is held against both by the tests.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Rule:
    """A rule that the API server checks as `expression` and that `holds` checks in Python, on the value it is about."""

    expression: str
    message: str
    holds: Callable[[Any], bool]
    field_path: str = ""

    def schema(self) -> dict[str, str]:
        """Return the rule as the API server takes it."""
        made = {"rule": " ".join(self.expression.split()), "message": self.message, "reason": "FieldValueInvalid"}
        return made | ({"fieldPath": self.field_path} if self.field_path else {})


def matches(text: str, pattern: str) -> bool:
    """Tell whether CEL's matches() would be true of a pattern that ends with $."""
    # Python's $ also matches before a last newline, RE2's does not; no text of ours may hold one.
    return "\n" not in text and re.search(pattern, text) is not None


def check(value: Any, *rules: Rule) -> None:
    """Raise for the first rule that does not hold; pydantic turns that into an error at the place of the value."""
    for one in rules:
        if not one.holds(value):
            # The message is a parameter since the first argument is a template, where braces would mean something.
            raise PydanticCustomError("rule", "{message}", {"message": one.message, "path": one.field_path})


def validations(*rules: Rule) -> dict[str, Any]:
    """Return the schema extension that holds the rules."""
    return {"x-kubernetes-validations": [one.schema() for one in rules]}


class Rules:
    """Annotates a field with rules."""

    def __init__(self, *rules: Rule) -> None:
        self._rules = rules

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the rules on a value that is well formed."""

        def checked(value: Any) -> Any:
            check(value, *self._rules)
            return value

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Add the rules to the schema."""
        return handler(schema) | validations(*self._rules)


class ListMap:
    """Annotates a list whose items are told apart by the value of one field."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Refuse a second item of the same key, as the API server does."""

        def checked(items: Any) -> Any:
            seen: list[str] = []
            for index, item in enumerate(items):
                key = getattr(item, self._key)
                if key in seen:
                    parameters = {"message": f"duplicate {self._key} {key!r}", "path": f"[{index}]"}
                    raise PydanticCustomError("rule", "{message}", parameters)
                seen.append(key)
            return items

        return core_schema.no_info_after_validator_function(checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Name the key in the schema."""
        return handler(schema) | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self._key]}
