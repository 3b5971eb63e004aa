"""The children of a ModelService.

The golden files are what the examples become. After an intended change write them anew with
`SPRINGTIDE_UPDATE_GOLDEN=1 pytest tests/unit/test_manifests.py`, and read the diff.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from springtide.manifests.resolve import resolve
from springtide.manifests.services import service_url
from springtide.manifests.settings import Settings
from tests.unit.samples import ROOT, SETTINGS, children_of, example, model_service

EXAMPLES = [path for path in sorted((ROOT / "examples").glob("*.yaml")) if "kind: ModelService\n" in path.read_text()]
MODEL = {"uri": "oci://registry.example.com/models/chat"}


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def children(spec: dict[str, Any], settings: Settings = SETTINGS) -> dict[tuple[str, str], dict[str, Any]]:
    return {(one["kind"], one["metadata"]["name"]): one for one in children_of(model_service(spec), settings)}


def pod(spec: dict[str, Any], settings: Settings = SETTINGS) -> dict[str, Any]:
    return children(spec, settings)["Deployment", "chat-cpu"]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    golden = Path(__file__).parent / "golden" / path.name
    made = yaml.dump_all(children_of(example(path)), Dumper=Dumper, sort_keys=True, width=120)
    if os.environ.get("SPRINGTIDE_UPDATE_GOLDEN"):
        golden.write_text(made)
    assert made == golden.read_text()


def test_examples_are_short() -> None:
    assert {path.stem for path in EXAMPLES} >= {"chat", "embed"}
    assert all(len(path.read_text().splitlines()) <= 12 for path in EXAMPLES)


def test_pods_are_restricted_and_have_no_token() -> None:
    spec = pod({"model": MODEL, "pools": [{"name": "cpu"}]})
    container = spec["containers"][0]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all("hostPath" not in volume for volume in spec["volumes"])


def test_tiers_decide_what_the_service_selects() -> None:
    pools = [{"name": "a"}, {"name": "b", "tier": "Fallback"}, {"name": "c", "tier": "Offline"}]
    made = children({"model": MODEL, "pools": pools})
    selector = made["Service", "chat"]["spec"]["selector"].items()
    selected = {
        name
        for (kind, name), child in made.items()
        if kind == "Deployment" and selector <= child["spec"]["template"]["metadata"]["labels"].items()
    }
    assert selected == {"chat-a", "chat-b"}
    assert made["Deployment", "chat-c"]["metadata"]["labels"]["springtide.dev/tier"] == "Offline"


def test_between_realtime_and_fallback_no_pod_changes() -> None:
    realtime, fallback = (
        children({"model": MODEL, "pools": [{"name": "cpu", "tier": tier}]})["Deployment", "chat-cpu"]["spec"]
        for tier in ("Realtime", "Fallback")
    )
    assert realtime == fallback


def test_only_offline_pools_have_no_common_service() -> None:
    spec = {"model": MODEL, "pools": [{"name": "cpu", "tier": "Offline"}]}
    assert ("Service", "chat") not in children(spec)
    assert service_url(model_service(spec)) == ""


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        ({"uri": "oci://localhost:5000/m"}, "localhost:5000/m"),
        ({"uri": "oci://r.example/m:v2"}, "r.example/m:v2"),
        ({"uri": "oci://r.example/m", "revision": "v3"}, "r.example/m:v3"),
        ({"uri": "oci://r.example/m", "revision": f"sha256:{'a' * 64}"}, f"r.example/m@sha256:{'a' * 64}"),
    ],
)
def test_model_reference(model: dict[str, str], reference: str) -> None:
    volumes = pod({"model": model, "pools": [{"name": "cpu"}]})["volumes"]
    assert volumes[0] == {"name": "model", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}


def test_runtime_overrides() -> None:
    spec = {"model": MODEL, "runtime": {"image": "x/y:1", "args": ["--threads", "2"]}, "pools": [{"name": "cpu"}]}
    container = pod(spec)["containers"][0]
    assert container["image"] == "x/y:1"
    assert container["args"][-2:] == ["--threads", "2"]


def test_packages_claim() -> None:
    spec = {"model": MODEL, "pools": [{"name": "cpu"}]}
    made = pod(spec, Settings("m:1", packages_claim="torch"))
    assert {"name": "PYTHONPATH", "value": "/opt/packages"} in made["containers"][0]["env"]
    assert made["volumes"][-1]["persistentVolumeClaim"] == {"claimName": "torch", "readOnly": True}
    assert "PYTHONPATH" not in str(pod(spec))


@given(pinned=st.none() | st.integers(0, 40), least=st.integers(1, 20))
def test_replicas_pin_the_first_pool_only(pinned: int | None, least: int) -> None:
    pools = [{"name": "a", "replicas": {"min": least}}, {"name": "b"}]
    service = model_service({"model": MODEL, "replicas": pinned, "pools": pools})
    first, second = (resolve(service, pool, SETTINGS).replicas for pool in service.spec.pools)
    assert first == (least if pinned is None else pinned)
    assert second == 1


LABEL = st.from_regex(r"\A[a-z]([-a-z0-9]{0,20}[a-z0-9])?\Z")


@given(name=LABEL, pools=st.lists(LABEL, min_size=1, max_size=4, unique=True))
def test_build_is_deterministic_and_its_names_are_unique(name: str, pools: list[str]) -> None:
    service = model_service({"model": MODEL, "pools": [{"name": pool} for pool in pools]}, name=name)
    made = children_of(service)
    assert made == children_of(service)
    names = [(one["kind"], one["metadata"]["name"]) for one in made]
    assert len(set(names)) == len(names) == 4 * len(pools) + 4
    assert all(len(text) <= 63 for kind, text in names if kind != "ControllerRevision")
    assert all(one["metadata"]["ownerReferences"][0]["uid"] == service.metadata.uid for one in made)
