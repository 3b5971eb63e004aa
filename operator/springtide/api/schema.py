"""From pydantic's JSON schema to the structural schema that a CustomResourceDefinition takes."""

from typing import Any

from pydantic import BaseModel

# Defaults are applied by the operator and never filled into the object, so the schema has none.
_DROPPED = {"title", "default", "$defs", "additionalProperties"}


def structural_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model: references inlined, no null, no defaults."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}))


def _structural(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[1]]
        node = target | {key: value for key, value in node.items() if key != "$ref"}
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        # Optional fields are optional by absence; null is not a value in Kubernetes.
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"a structural schema has no unions: {node}")
        rest = {key: value for key, value in node.items() if key != "anyOf"}
        return _structural(choices[0] | rest, definitions)

    made = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if "properties" in made:
        made["properties"] = {name: _structural(child, definitions) for name, child in made["properties"].items()}
    if "items" in made:
        made["items"] = _structural(made["items"], definitions)
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        made["additionalProperties"] = _structural(values, definitions)
    return made
