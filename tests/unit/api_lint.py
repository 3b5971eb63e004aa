"""The rules of kube-api-linter, which reads Go types, as far as they say something of a definition in YAML.

Left out is what only Go sources have: jsontags and commentstart of structs, nullable pointers, markers that conflict.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

Schema = dict[str, Any]

INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"
LIST_KEYS = "x-kubernetes-list-map-keys"

# Maps, against the convention of lists of named objects, each where Kubernetes itself has the same map.
MAPS = {
    ".spec.pools[].nodeSelector": "a node selector, as in a pod's spec",
    ".spec.pools[].resources.requests": "a ResourceList of core/v1",
    ".spec.pools[].resources.limits": "a ResourceList of core/v1",
}
# Booleans, against the convention of enums.
BOOLS = {
    ".spec.priorities[].sheddable": "whether a class is given up first; what a third answer could say is another field",
}
RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**53), 2**53)}  # JSON's numbers are exact up to 2**53
CONDITION = {"type", "status", "lastTransitionTime", "reason", "message"}


class Node(NamedTuple):
    """A schema of a version, and where it is: `[]` is an item of a list and `{}` a value of a map."""

    path: str
    schema: Schema
    required: bool = False

    @property
    def name(self) -> str:
        return re.sub(r"[\[\]{}]", "", self.path).rpartition(".")[2]

    @property
    def is_field(self) -> bool:
        return not self.path.endswith(("[]", "{}"))


def nodes(schema: Schema, path: str = "") -> Iterator[Node]:
    """Yield every schema under spec and status, those of items and values included."""
    for name, child in schema.get("properties", {}).items():
        if path or name in {"spec", "status"}:
            yield Node(f"{path}.{name}", child, name in schema.get("required", ()))
            yield from nodes(child, f"{path}.{name}")
    for key, sign in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield Node(path + sign, schema[key])
            yield from nodes(schema[key], path + sign)


def conditions(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if path.endswith(".conditions"):
            items = schema.get("items", {})
            if schema.get(LIST_TYPE) != "map" or schema.get(LIST_KEYS) != ["type"]:
                yield f"{path}: conditions are a list-map keyed by type"
            if not set(items.get("required", ())) >= CONDITION or "observedGeneration" not in items.get(
                "properties", {}
            ):
                yield f"{path}: an item has the fields of metav1.Condition"
    if "status" in root.get("properties", {}) and "conditions" not in root["properties"]["status"].get(
        "properties", {}
    ):
        yield ".status: has no conditions"


def nophase(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        if "phase" in node.name.lower():
            yield f"{node.path}: a condition says it, not a phase"


def nofloats(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("type") == "number" or schema.get("format") in {"float", "double"}:
            yield f"{path}: floats differ between languages; use an integer with its unit in the name, or a quantity"


def nobools(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("type") == "boolean" and path not in BOOLS:
            yield f"{path}: an enum can have a third value later, a boolean can't"


def nodurations(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        if node.schema.get("format") == "duration":
            yield f"{node.path}: use an integer with its unit in the name"


def notimestamp(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        if node.is_field and "timestamp" in node.name.lower():
            yield f"{node.path}: a point in time is called ...Time"


def integers(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("type") == "integer" and schema.get("format") not in RANGES:
            yield f"{path}: an integer is int32 or int64"


def numericbounds(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("type") != "integer":
            continue
        low, high = RANGES.get(schema.get("format", ""), RANGES["int64"])
        # What the operator counts in status has no largest value.
        keys = ("minimum", "maximum") if path.startswith(".spec") else ("minimum",)
        for key in keys:
            if not low <= schema.get(key, high + 1) <= high:
                yield f"{path}: has no {key} within {low} and {high}"


def maxlength(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        texts = schema.get("type") == "string" or schema.get(INT_OR_STRING)
        if texts and "maxLength" not in schema and "enum" not in schema:
            yield f"{path}: a string has maxLength"


def minlength(root: Schema) -> Iterator[str]:
    for path, schema, required in nodes(root):
        wanted = path.startswith(".spec") and required and schema.get("type") == "string" and "enum" not in schema
        if wanted and schema.get("minLength", 0) < 1:
            yield f"{path}: an empty string is no value of a required field: minLength 1"


def maxitems(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("type") == "array" and "maxItems" not in schema:
            yield f"{path}: a list has maxItems"


def maxproperties(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("additionalProperties") and "maxProperties" not in schema:
            yield f"{path}: a map has maxProperties"


def nomaps(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if "additionalProperties" in schema and path not in MAPS:
            yield f"{path}: use a list of named objects, or say in MAPS why it is a map"
        if schema.get("type") == "object" and not schema.get("properties") and "additionalProperties" not in schema:
            yield f"{path}: an object says which fields it has"


def ssatags(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        if schema.get("type") != "array":
            continue
        items, kind = schema.get("items", {}), schema.get(LIST_TYPE)
        if kind not in {"atomic", "set", "map"}:
            yield f"{path}: a list says how it is merged: {LIST_TYPE}"
        if kind == "map" and not set(schema.get(LIST_KEYS) or [""]) <= set(items.get("required", ())):
            yield f"{path}: the keys of a list-map are required fields of its items"
        if kind == "set" and items.get("type") == "object":
            yield f"{path}: a list of objects is a map or atomic, not a set"
        if kind == "atomic" and items.get("type") == "object":
            yield f"{path}: two writers can't share an atomic list of objects; make it a list-map"


def arrayofstruct(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        items = schema.get("items", {})
        if items.get("type") == "object" and not items.get("required"):
            yield f"{path}: an item has at least one required field"


def optionalorrequired(root: Schema) -> Iterator[str]:
    for path, schema, _ in [Node("", root), *nodes(root)]:
        unknown = set(schema.get("required", ())) - set(schema.get("properties", {}))
        if unknown:
            yield f"{path}: requires {', '.join(sorted(unknown))}, which it does not have"


def defaultorrequired(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        # The status of an object that nobody has looked at yet is the one exception: kstatus takes none for done.
        if "default" in node.schema and node.path != ".status":
            yield f"{node.path}: the operator applies defaults; the API server fills nothing in"
        if node.schema.get("nullable"):
            yield f"{node.path}: optional is absent, never null"


def statusoptional(root: Schema) -> Iterator[str]:
    for name in root.get("properties", {}).get("status", {}).get("required", ()):
        yield f".status.{name}: a field of status is optional: the operator writes it when it knows it"
    if "status" in root.get("required", ()):
        yield ".status: is optional"


def described(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        text = node.schema.get("description", "")
        if node.is_field and not (text and text.endswith(".")):
            yield f"{node.path}: has no description, a sentence"


def enums(root: Schema) -> Iterator[str]:
    for path, schema, _ in nodes(root):
        for value in schema.get("enum", ()):
            if not isinstance(value, str) or not re.fullmatch(r"[A-Z][A-Za-z0-9]*", value):
                yield f"{path}: {value!r} is not CamelCase"


def names(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        if node.is_field and not re.fullmatch(r"[a-z][a-z0-9]*([A-Z][a-z0-9]*)*", node.name):
            yield f"{node.path}: a field is camelCase"


def references(root: Schema) -> Iterator[str]:
    for node in nodes(root):
        if node.is_field and re.search(r"References?$", node.name):
            yield f"{node.path}: is called ...Ref or ...Refs"
        if node.is_field and node.name.endswith("Ref") and "name" not in node.schema.get("properties", {}):
            yield f"{node.path}: a ...Ref is an object with a name; a mere name is called ...Name"
        if node.is_field and node.name.endswith("Refs") and node.schema.get("type") != "array":
            yield f"{node.path}: ...Refs is a list"


def statussubresource(version: Schema) -> Iterator[str]:
    """Judge a version rather than its schema: the subresource is declared beside it."""
    has = "status" in version["schema"]["openAPIV3Schema"].get("properties", {})
    if has != ("status" in version.get("subresources", {})):
        yield f"{version['name']}: a kind with a status has the status subresource"
