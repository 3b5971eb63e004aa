"""The generated definition keeps the conventions of the Kubernetes API."""

from typing import Any

from hack.generate import generated
from springtide.api.crd import modelservice_crd
from tests.unit.api_lint import nodes

VERSION = modelservice_crd()["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]


def test_generated_files_are_current() -> None:
    stale = [str(path) for path, wanted in generated().items() if not path.exists() or path.read_text() != wanted]
    assert not stale, "run `make generate`"


def test_schema_is_structural() -> None:
    for path, schema, _ in nodes(SCHEMA):
        assert not {"$ref", "title", "allOf", "oneOf", "nullable", "const"} & schema.keys(), path
        if not schema.get("x-kubernetes-int-or-string"):
            assert "anyOf" not in schema, path
            assert schema["type"] in {"object", "array", "string", "integer", "boolean"}, f"{path}: no floats"


def test_columns_and_subresources() -> None:
    shown = [column["name"].upper() for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["READY", "REPLICAS", "TARGET", "URL", "AGE"]
    assert VERSION["subresources"]["status"] == {}
    assert VERSION["subresources"]["scale"]["labelSelectorPath"] == ".status.selector"
