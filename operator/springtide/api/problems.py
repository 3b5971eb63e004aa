"""What is wrong with an object, in the words of the API rather than those of pydantic."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

Path = tuple[str | int, ...]

# Where these lack a type of error, pydantic's own message is good enough.
_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "missing": lambda _: "is required",
    "extra_forbidden": lambda _: "unknown field",
    "literal_error": lambda limits: f"must be {limits['expected']}",
    "string_pattern_mismatch": lambda limits: f"must match {limits['pattern']}",
    "string_too_short": lambda limits: f"must have at least {_count(limits['min_length'], 'character')}",
    "string_too_long": lambda limits: f"must have at most {_count(limits['max_length'], 'character')}",
    "too_short": lambda limits: f"must have at least {_count(limits['min_length'], 'item')}",
    "too_long": lambda limits: f"must have at most {_count(limits['max_length'], 'item')}",
    "greater_than_equal": lambda limits: f"must be at least {limits['ge']}",
    "less_than_equal": lambda limits: f"must be at most {limits['le']}",
    "int_type": lambda _: "must be an integer",
    "int_from_float": lambda _: "must be an integer",
    "string_type": lambda _: "must be a string",
    "dict_type": lambda _: "must be a mapping",
    "model_type": lambda _: "must be a mapping",
    "tuple_type": lambda _: "must be a list",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and the field that it is about."""

    path: Path
    message: str

    def __str__(self) -> str:
        """Return the field and the message."""
        return f"{path_text(self.path)}: {self.message}" if self.path else self.message


def problems(error: ValidationError) -> list[Problem]:
    """Return what is wrong, in the order of the fields."""
    found = []
    for one in error.errors(include_url=False):
        limits = one.get("ctx", {})
        if one["type"] == "too_short" and len(one["input"]) >= limits["min_length"]:
            continue  # pydantic counts the valid items only, and the others are reported themselves
        words = _WORDS.get(one["type"])
        path = one["loc"] + (_parts(limits["path"]) if one["type"] == "rule" else ())
        found.append(Problem(path, words(limits) if words else one["msg"]))
    return found


def summary(error: ValidationError) -> str:
    """Return the first five problems, in one line."""
    return "; ".join(str(one) for one in problems(error)[:5])


def path_text(path: Path) -> str:
    """Return a path as the API server writes it: spec.pools[0].name."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _parts(text: str) -> Path:
    return tuple(int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", text))
