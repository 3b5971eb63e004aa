"""Named classes of requests: which may run first, what each is sure of, and which are given up first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from springtide_server.errors import RequestError

HEADER = "X-Priority"
MAX_CLASSES = 8
# A DNS label, as other names of Kubernetes; it is also the value of a metric's label.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class PriorityClass:
    """One class. Its rank is its place in the list, the best first."""

    name: str
    reserved_percent: int = 0
    """Of the work done while the class waits, it gets at least this."""
    sheddable: bool = False
    """Refused when the queue is half full, and evicted before all that is not sheddable."""
    default: bool = False
    """For requests that name no class."""


DEFAULTS = (PriorityClass("critical", 20), PriorityClass("standard"), PriorityClass("background", sheddable=True))


def parse(text: str) -> PriorityClass:
    """NAME[:reservedPercent][:sheddable][:default]; raises ValueError."""
    name, *options = text.split(":")
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of lower-case letters, digits and dashes")
    unknown = [option for option in options if option not in ("sheddable", "default") and not option.isdecimal()]
    numbers = [int(option) for option in options if option.isdecimal()]
    if unknown or len(numbers) > 1 or len(set(options)) < len(options):
        raise ValueError(f"{text!r} is not NAME[:reservedPercent][:sheddable][:default]")
    return PriorityClass(name, sum(numbers), "sheddable" in options, "default" in options)


def check(classes: Sequence[PriorityClass]) -> None:
    """Raise ValueError unless the classes go together."""
    names = [one.name for one in classes]
    if not 1 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"there are {len(names)} priorities; give between 1 and {MAX_CLASSES}")
    if len(set(names)) < len(names):
        raise ValueError("two priorities have the same name")
    if sum(one.reserved_percent for one in classes) > 100:
        raise ValueError("the priorities reserve more than 100 percent")
    if sum(one.default for one in classes) > 1:
        raise ValueError("more than one priority is the default")


def default_rank(classes: Sequence[PriorityClass]) -> int:
    """The class marked as default, else `standard`, else the last that is not sheddable, else the last."""
    ranks = range(len(classes))
    marked = [rank for rank in ranks if classes[rank].default]
    standard = [rank for rank in ranks if classes[rank].name == "standard"]
    firm = [rank for rank in ranks if not classes[rank].sheddable]
    return next(iter([*marked, *standard, *reversed(firm), len(classes) - 1]))


def place_of(name: str, classes: Sequence[PriorityClass]) -> int:
    """The rank of a class that was there before the classes changed: that of the default if it has gone."""
    ranks = {one.name: rank for rank, one in enumerate(classes)}
    return ranks.get(name, default_rank(classes))


def rank_of(name: str | None, classes: Sequence[PriorityClass]) -> int:
    """The rank that a request asks for by its header; raises RequestError (400) for a class that isn't there."""
    if name is None:
        return default_rank(classes)
    for rank, one in enumerate(classes):
        if one.name == name:
            return rank
    known = ", ".join(one.name for one in classes)
    message = f"{HEADER}: there is no priority {name[:64]!r}; send one of {known}"
    raise RequestError(400, message, param=HEADER, code="unknown_priority")
