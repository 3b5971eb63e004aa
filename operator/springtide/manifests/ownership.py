"""Which fields of a live object are ours, and whether they are as wanted.

The API server records in managedFields the paths that each field manager applied. What the cache keeps of a live
object is the object cut down to our paths, so a comparison sees a value that someone changed, a field that someone took
over or removed, and a field of ours that is no longer wanted, and never what defaulting added.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from springtide.api.base import FIELD_MANAGER
from springtide.api.quantity import same_quantity

# Quantities are compared as amounts, here alone: elsewhere "1" and "1000m" are different strings.
_QUANTITIES = {"requests", "limits"}


class Keyed(dict[str, Any]):
    """A list whose items the API server tells apart by keys: from the keys as JSON to the item, in the live order."""


def owned_fields(live: Mapping[str, Any], subresource: str = "") -> Any:
    """Return the live object cut down to the fields that we applied; None when we applied none."""
    for entry in live.get("metadata", {}).get("managedFields", ()):
        if (
            entry.get("manager") == FIELD_MANAGER
            and entry.get("operation") == "Apply"
            and entry.get("subresource", "") == subresource
        ):
            return _cut(live, entry["fieldsV1"])
    return None


def _cut(value: Any, fields: Mapping[str, Any]) -> Any:
    names = [name for name in fields if name != "."]
    if not names:
        return value
    if isinstance(value, dict):
        return {
            name[2:]: _cut(value[name[2:]], fields[name])
            for name in names
            if name.startswith("f:") and name[2:] in value
        }
    if isinstance(value, list) and all(name.startswith("k:") for name in names):
        keyed = [(name, json.loads(name[2:])) for name in names]
        items = Keyed()
        for item in value:
            for name, keys in keyed:
                if all(item.get(key) == wanted for key, wanted in keys.items()):
                    items[name[2:]] = _cut(item, fields[name])
        return items
    return value


def plain(owned: Any) -> Any:
    """Return what was cut as it was applied, with lists for keyed items."""
    if isinstance(owned, Keyed):
        return [plain(item) for item in owned.values()]
    if isinstance(owned, dict):
        return {name: plain(value) for name, value in owned.items()}
    return [plain(item) for item in owned] if isinstance(owned, list) else owned


def differs_at(desired: Mapping[str, Any], owned: Any, path: Sequence[str]) -> bool:
    """Tell whether a field that we own has another value than the desired one."""
    wanted: Any = desired
    for name in path:
        if not isinstance(owned, dict) or name not in owned:
            return False
        wanted, owned = wanted[name], owned[name]
    return not _same(wanted, owned, quantities=False)


def is_current(desired: Mapping[str, Any], owned: Any) -> bool:
    """Tell whether the fields that we own are exactly the desired ones, with the desired values."""
    identity = {"name", "namespace"}
    wanted = {key: value for key, value in desired.items() if key not in {"apiVersion", "kind"}}
    if "metadata" in wanted:
        wanted["metadata"] = {key: value for key, value in wanted["metadata"].items() if key not in identity}
        if not wanted["metadata"]:
            del wanted["metadata"]
    return _same(wanted, owned, quantities=False)


def _same(desired: Any, owned: Any, *, quantities: bool) -> bool:
    if isinstance(owned, Keyed):
        return isinstance(desired, list) and _same_items(desired, owned, quantities=quantities)
    if isinstance(desired, dict) and isinstance(owned, dict):
        return desired.keys() == owned.keys() and all(
            _same(value, owned[key], quantities=quantities or key in _QUANTITIES) for key, value in desired.items()
        )
    if isinstance(desired, list) and isinstance(owned, list):
        return len(desired) == len(owned) and all(
            _same(one, other, quantities=quantities) for one, other in zip(desired, owned, strict=True)
        )
    if quantities and same_quantity(desired, owned):
        return True
    return type(desired) is type(owned) and bool(desired == owned)


def _same_items(desired: list[Any], owned: Keyed, *, quantities: bool) -> bool:
    # The order of such a list is the server's affair: only the items count.
    if len(desired) != len(owned):
        return False
    for text, item in owned.items():
        keys = json.loads(text)
        found = [one for one in desired if all(one.get(key) == wanted for key, wanted in keys.items())]
        if len(found) != 1 or not _same(found[0], item, quantities=quantities):
            return False
    return True
