"""The generated definition keeps the conventions of the Kubernetes API."""

from collections.abc import Iterator
from typing import Any

from hack.generate import generated
from springtide.api.crd import modelservice_crd

VERSION = modelservice_crd()["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]


def fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in schema.get("properties", {}).items():
        if path or name in {"spec", "status"}:
            yield f"{path}.{name}", child
            yield from fields(child, f"{path}.{name}")
    if "items" in schema:
        yield f"{path}[]", schema["items"]
        yield from fields(schema["items"], f"{path}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield f"{path}{{}}", schema["additionalProperties"]


def test_generated_files_are_current() -> None:
    stale = [str(path) for path, wanted in generated().items() if not path.exists() or path.read_text() != wanted]
    assert not stale, "run `make generate`"


def test_schema_is_structural() -> None:
    for path, schema in fields(SCHEMA):
        assert not {"$ref", "default", "title", "allOf", "oneOf", "nullable", "const"} & schema.keys(), path
        if not schema.get("x-kubernetes-int-or-string"):
            assert "anyOf" not in schema, path
            assert schema["type"] in {"object", "array", "string", "integer"}, f"{path}: no floats, no booleans"


def test_every_field_is_described() -> None:
    assert not [
        path for path, schema in fields(SCHEMA) if not path.endswith(("[]", "{}")) and not schema.get("description")
    ]


def test_everything_is_bounded() -> None:
    for path, schema in fields(SCHEMA):
        match schema.get("type"):
            case "string":
                assert "maxLength" in schema or "enum" in schema, path
            case "array":
                assert "maxItems" in schema, path
                assert schema["x-kubernetes-list-type"] in {"atomic", "map"}, path
            case "integer":
                assert schema["format"] in {"int32", "int64"}, path
                assert "minimum" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


def test_enums_are_camel_case() -> None:
    values = [value for _, schema in fields(SCHEMA) for value in schema.get("enum", [])]
    assert "Realtime" in values
    assert all(value[0].isupper() and value.isalnum() for value in values)


def test_list_maps_are_keyed_by_required_fields() -> None:
    for path, schema in fields(SCHEMA):
        for key in schema.get("x-kubernetes-list-map-keys", []):
            assert key in schema["items"]["required"], path


def test_columns_and_subresources() -> None:
    shown = [column["name"].upper() for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["READY", "REPLICAS", "TARGET", "URL", "AGE"]
    assert VERSION["subresources"]["status"] == {}
    assert VERSION["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"
