"""Every definition keeps the rules of kube-api-linter, and every rule can fail."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.unit import api_lint
from tests.unit.api_lint import MAPS, Schema, nodes, statussubresource
from tests.unit.samples import ROOT

Rule = Callable[[Schema], Iterator[str]]
DEFINITIONS = sorted((ROOT / "crds").glob("*.yaml"))
VERSIONS: dict[str, Schema] = {
    f"{crd['spec']['names']['kind']}-{version['name']}": version
    for crd in (yaml.safe_load(path.read_text()) for path in DEFINITIONS)
    for version in crd["spec"]["versions"]
}


def spec(**fields: Any) -> Schema:
    return {"properties": {"spec": {"type": "object", "properties": fields}}}


def status(**fields: Any) -> Schema:
    return {"properties": {"status": {"type": "object", "properties": fields}}}


def items(kind: str, **more: Any) -> Schema:
    return {"type": "array", "x-kubernetes-list-type": kind, "items": {"type": "object"} | more}


# For each rule small schemas that break it, with the path that its message names.
BAD: dict[Rule, list[tuple[str, Schema]]] = {
    api_lint.conditions: [
        (".status", status(replicas={})),
        (".status.conditions", status(conditions=items("atomic", required=sorted(api_lint.CONDITION)))),
        (".status.conditions", status(conditions=items("map") | {"x-kubernetes-list-map-keys": ["type"]})),
    ],
    api_lint.nophase: [(".status.phase", status(phase={})), (".status.lastPhase", status(lastPhase={}))],
    api_lint.nofloats: [(".spec.ratio", spec(ratio={"type": "number"}))],
    api_lint.nobools: [
        (".spec.on", spec(on={"type": "boolean"})),
        (".spec.a[]", spec(a={"items": {"type": "boolean"}})),
    ],
    api_lint.nodurations: [(".spec.wait", spec(wait={"type": "string", "format": "duration"}))],
    api_lint.notimestamp: [(".status.lastTimestamp", status(lastTimestamp={}))],
    api_lint.integers: [
        (".spec.a", spec(a={"type": "integer"})),
        (".spec.b", spec(b={"type": "integer", "format": "uint8"})),
    ],
    api_lint.numericbounds: [
        (".spec.a", spec(a={"type": "integer", "format": "int32", "minimum": 0})),
        (".spec.a", spec(a={"type": "integer", "format": "int32", "minimum": 0, "maximum": 2**31})),
        (".status.a", status(a={"type": "integer", "format": "int64", "maximum": 9})),
    ],
    api_lint.maxlength: [
        (".spec.a", spec(a={"type": "string"})),
        (".spec.a{}", spec(a={"additionalProperties": {"x-kubernetes-int-or-string": True}})),
    ],
    api_lint.minlength: [(".spec.a.b", spec(a={"required": ["b"], "properties": {"b": {"type": "string"}}}))],
    api_lint.maxitems: [(".spec.a", spec(a=items("atomic")))],
    api_lint.maxproperties: [(".spec.a", spec(a={"additionalProperties": {"type": "string"}}))],
    api_lint.nomaps: [
        (".spec.a", spec(a={"additionalProperties": {"type": "string"}})),
        (".spec.a", spec(a={"type": "object", "x-kubernetes-preserve-unknown-fields": True})),
    ],
    api_lint.ssatags: [
        (".spec.a", spec(a={"type": "array", "items": {"type": "string"}})),
        (".spec.a", spec(a=items("map") | {"x-kubernetes-list-map-keys": ["name"]})),
        (".spec.a", spec(a=items("map", required=["name"]))),
        (".spec.a", spec(a=items("set"))),
        (".spec.a", spec(a=items("atomic"))),
    ],
    api_lint.arrayofstruct: [(".spec.a", spec(a=items("map")))],
    api_lint.optionalorrequired: [
        (".spec", {"properties": {"spec": {"required": ["gone"], "properties": {"here": {}}}}})
    ],
    api_lint.defaultorrequired: [(".spec.a", spec(a={"default": 1})), (".spec.a", spec(a={"nullable": True}))],
    api_lint.statusoptional: [
        (".status.url", {"properties": {"status": {"required": ["url"]}}}),
        (".status", {"required": ["status"]}),
    ],
    api_lint.described: [(".spec.a", spec(a={})), (".spec.a", spec(a={"description": "no sentence"}))],
    api_lint.enums: [(".spec.a", spec(a={"enum": ["Fine", "not_fine"]})), (".spec.a", spec(a={"enum": [True]}))],
    api_lint.names: [(".spec.a_b", spec(a_b={})), (".spec.URI", spec(URI={}))],
    api_lint.references: [
        (".spec.claimReference", spec(claimReference={})),
        (".spec.claimRef", spec(claimRef={"type": "string"})),
        (".spec.claimRefs", spec(claimRefs={"type": "object"})),
    ],
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rule", BAD, ids=lambda rule: rule.__name__)
def test_definitions_keep(rule: Rule, version: str) -> None:
    found = list(rule(VERSIONS[version]["schema"]["openAPIV3Schema"]))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("rule", BAD, ids=lambda rule: rule.__name__)
def test_rule_can_fail(rule: Rule) -> None:
    for path, schema in BAD[rule]:
        found = list(rule(schema))
        assert any(line.startswith(f"{path}: ") for line in found), (path, found)


@pytest.mark.parametrize("version", VERSIONS)
def test_definitions_keep_statussubresource(version: str) -> None:
    assert not list(statussubresource(VERSIONS[version]))


def test_statussubresource_can_fail() -> None:
    bad = {"name": "v1", "schema": {"openAPIV3Schema": status(url={})}, "subresources": {"scale": {}}}
    assert list(statussubresource(bad)) == ["v1: a kind with a status has the status subresource"]


def test_every_exception_is_needed() -> None:
    here = {path for version in VERSIONS.values() for path, _, _ in nodes(version["schema"]["openAPIV3Schema"])}
    assert set(MAPS) <= here


def test_the_admission_policies_know_every_field_that_chooses_what_runs() -> None:
    schema = VERSIONS["ModelService-v1alpha1"]["schema"]["openAPIV3Schema"]
    chosen = {"image", "args", "command", "env", "uri", "credentialsSecretName", "claimName"}
    found = {node.path for node in nodes(schema) if node.path.startswith(".spec") and node.name in chosen}
    runtime = {"image", "args", "args[]", "command", "command[]", "env", "env[]"}
    places = (".spec", ".spec.pools[]")
    known = {f"{place}.runtime.{name}" for place in places for name in runtime}
    known |= {f"{place}.{name}" for place in places for name in ("model.uri", "model.credentialsSecretName")}
    known.add(".spec.cache.claimName")
    assert found == known, "extend charts/springtide/templates/admission.yaml and tests/api/test_policy.py, then this"
