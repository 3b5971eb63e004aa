"""Any valid spec: what the API server takes as a ModelService becomes children that it takes too; all as dry runs."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springtide.api.modelservice import ModelService
from springtide.clients.cluster import CHILDREN
from springtide.manifests.ownership import is_current, owned_fields
from springtide.manifests.runtimes import PROFILES
from springtide.manifests.settings import Settings
from tests.api.policies import APPLY
from tests.api.support import MODEL_SERVICES, Api
from tests.unit.samples import children_of

KINDS = {kind.kind: kind for kind in CHILDREN}
SETTINGS = Settings(
    "springtide/model-server:1",
    packages_claim="packages",
    images={"VLLM": "vllm:1", "SGLang": "sglang:1"},
    fetch_environment={"HF_ENDPOINT": "http://mirror"},
    namespace="springtide-system",
)
TEXT = st.text(max_size=20)
TASK = st.sampled_from(["Generate", "Embed"])
NAME = st.from_regex(r"\A[a-z]([-a-z0-9]{0,18}[a-z0-9])?\Z")
PATH = st.from_regex(r"\A/[a-z]{0,10}\Z")


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


URI = st.one_of(
    st.builds("oci://registry.example.com/{}".format, NAME),
    st.builds("hf://org/{}".format, NAME),
    st.builds("s3://bucket/{}".format, NAME),
    st.builds("pvc://{}/a/b".format, NAME),
    st.builds("file:///{}".format, NAME),
)
RUNTIME = st.one_of(
    st.sampled_from([*PROFILES]).flatmap(
        lambda name: st.fixed_dictionaries(
            {"name": st.just(name)} | ({"image": st.just("custom:1")} if name == "Custom" else {}),
            optional={
                "command": st.lists(TEXT, max_size=2),
                "args": st.lists(TEXT, max_size=3),
                "env": st.lists(
                    st.fixed_dictionaries({"name": st.from_regex(r"\A[A-Z_]{1,9}\Z"), "value": TEXT}),
                    unique_by=lambda one: str(one["name"]),
                    max_size=3,
                ),
                "port": st.integers(1024, 65535),
                "readinessPath": PATH,
                "livenessPath": PATH,
                "metricsPath": PATH,
                "startupSeconds": st.integers(10, 86400),
                "drainSeconds": st.integers(1, 3600),
            },
        )
    )
)
AMOUNT = st.one_of(
    st.integers(1, 10**12),
    st.from_regex(r"\A[1-9][0-9]{0,3}(\.[0-9]{1,2})?([KMGT]i|[kMGT]|e[0-9])?\Z"),
    st.from_regex(r"\A[1-9][0-9]{0,6}[mun]\Z"),
    st.sampled_from(["0.3333", "0.0001"]),
)
AMOUNTS = optional(cpu=AMOUNT, memory=AMOUNT)
POOL: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"name": NAME},
    optional={
        "tier": st.sampled_from(["Realtime", "Offline", "Fallback"]),
        "model": optional(uri=URI),
        "runtime": RUNTIME,
        "accelerator": st.fixed_dictionaries(
            {"type": st.just("DevicePlugin"), "resourceName": st.just("nvidia.com/gpu"), "count": st.integers(1, 8)}
        ),
        "resources": st.sampled_from(["requests", "limits"]).flatmap(lambda which: optional(**{which: AMOUNTS})),
        "replicas": st.integers(1, 10).flatmap(lambda least: optional(min=st.just(least), max=st.just(least + 3))),
        "update": st.sampled_from([{}, {"maxSurge": 3}, {"maxSurge": 0, "maxUnavailable": 2}]),
        "nodeSelector": st.dictionaries(NAME, NAME, max_size=2),
    },
)
MODEL: st.SearchStrategy[Any] = URI.flatmap(
    lambda uri: st.fixed_dictionaries({"uri": st.just(uri)}, optional={"task": TASK})
)
SPEC: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "model": MODEL,
        "pools": st.lists(POOL, min_size=1, max_size=3, unique_by=lambda pool: str(pool["name"])),
    },
    optional={
        "runtime": RUNTIME,
        "precision": st.sampled_from(["FP32", "BF16", "FP16"]),
        "replicas": st.integers(0, 3),
        "batching": optional(
            maxBatchSize=st.integers(1, 4096),
            maxQueueDelayMilliseconds=st.integers(0, 60000),
            targetMemoryPercent=st.integers(1, 100),
        ),
        "priorities": st.lists(
            st.fixed_dictionaries(
                {"name": NAME}, optional={"reservedPercent": st.integers(0, 12), "sheddable": st.booleans()}
            ),
            unique_by=lambda one: str(one["name"]),
            max_size=8,
        ),
    },
)


@pytest.fixture(scope="module")
def owner(api: Api) -> str:
    """The uid of a ModelService that exists: no operator runs in this namespace."""
    return str(api.create("any")["metadata"]["uid"])


def resources_of(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]["containers"][0].get("resources", {})  # type: ignore[no-any-return]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=SPEC)
def test_children_of_any_spec_are_taken(api: Api, owner: str, spec: dict[str, Any]) -> None:
    name = (spec.get("runtime") or {}).get("name", "ModelServer")
    if all((pool.get("runtime") or {}).get("name", name) != "ModelServer" for pool in spec["pools"]):
        spec = {key: value for key, value in spec.items() if key not in {"batching", "priorities"}}
    custom = any((place.get("runtime") or {}).get("name") == "Custom" for place in [spec, *spec["pools"]])
    if custom:
        spec = {key: value for key, value in spec.items() if key != "precision"}  # it takes none
    body = {"apiVersion": "springtide.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": "any"}, "spec": spec}
    pinned, most = spec.get("replicas"), spec["pools"][0].get("replicas", {}).get("max")
    if pinned is not None and most is not None and pinned > most:
        del spec["replicas"]
    api.call("PATCH", f"{MODEL_SERVICES}/any", body, APPLY, fieldManager="tests", dryRun="All", force="true")
    metadata = {"name": "any", "namespace": api.namespace, "uid": owner}
    service = ModelService.model_validate({"metadata": metadata, "spec": spec})
    children = children_of(service, SETTINGS)
    assert children == children_of(service, SETTINGS)
    for child in children:
        path = KINDS[child["kind"]].path(api.namespace, child["metadata"]["name"])
        live = api.call("PATCH", path, child, APPLY, fieldManager="springtide", dryRun="All", fieldValidation="Strict")
        assert is_current(child, owned_fields(live)), f"{child['kind']} would be applied again and again"
        if child["kind"] == "Deployment":
            sent, kept = (
                one["spec"]["template"]["spec"]["containers"][0].get("resources", {}) for one in (child, live)
            )
            # The API server adds requests that are not there.
            assert all(kept[kind].items() >= amounts.items() for kind, amounts in sent.items()), (sent, kept)
