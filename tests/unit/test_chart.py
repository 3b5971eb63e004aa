"""The chart's values, their schema and the version agree."""

import json
import tomllib
from typing import Any

import yaml

from springtide import VERSION
from tests.unit.samples import ROOT

CHART = ROOT / "charts/springtide"
OPEN = {"nodeSelector", "metrics.serviceMonitor.labels", "resources.requests", "resources.limits"}


def unknown(values: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the values that the schema does not name, and the objects in which it would let anything pass."""
    if not isinstance(values, dict) or path in OPEN:
        return []
    found = [] if schema.get("additionalProperties") is False else [f"{path} is open"]
    for name, value in values.items():
        at = f"{path}.{name}".removeprefix(".")
        child = schema.get("properties", {}).get(name)
        found += [at] if child is None else unknown(value, child, at)
    return found


def test_the_schema_names_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert not unknown(yaml.safe_load((CHART / "values.yaml").read_text()), schema)


def test_the_version_is_the_same_everywhere() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == VERSION
