"""A bad spec is refused by the API server, with a message that names the field."""

from typing import Any

import pytest

from tests.api.support import MODEL_SERVICES, Api, Refused

MODEL = {"uri": "oci://models.springtide.dev/chat:v1"}
DIGEST = f"sha256:{'0' * 64}"


def pool(**more: Any) -> dict[str, Any]:
    return {"pools": [{"name": "cpu"} | more]}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"model": {"uri": "hf://x/y"}}, ["spec.model.uri", "must begin with oci://"]),
        ({"model": {"uri": "oci://x"}}, ["spec.model.uri", "REGISTRY/REPOSITORY"]),
        ({"model": {"uri": "oci://x/y:v1", "revision": "v2"}}, ["spec.model.revision", "already has a tag"]),
        ({"model": {"uri": f"oci://x/y@{DIGEST}", "revision": "v2"}}, ["spec.model.revision", "digest"]),
        ({"model": {"uri": "oci://x/y", "revision": "sha256:abc"}}, ["spec.model.revision"]),
        ({"model": MODEL | {"task": "Draw"}}, ["spec.model.task", '"Generate", "Embed"']),
        ({"runtime": {"name": "VLLM"}}, ["spec.runtime.name", '"ModelServer"']),
        ({"runtime": {"image": "a b"}}, ["spec.runtime.image"]),
        ({"pools": []}, ["spec.pools"]),
        ({"pools": [{"name": "a"}, {"name": "a"}]}, ["spec.pools[1]", "Duplicate"]),
        (pool(name="-a"), ["spec.pools[0].name"]),
        (pool(name="p" * 41), ["spec.pools[0].name"]),
        (pool(tier="Fast"), ["spec.pools[0].tier", '"Realtime"']),
        (pool(replicas={"min": 0}), ["spec.pools[0].replicas.min"]),
        (pool(replicas={"min": 3, "max": 2}), ["spec.pools[0].replicas.max", "must not be less than min"]),
        (pool(resources={"requests": {"cpu": "lots"}}), ["spec.pools[0].resources.requests.cpu"]),
        (pool(resources={"requests": {"cpu": "-1"}}), ["spec.pools[0].resources.requests.cpu"]),
        (pool(resources={"limits": {"cpus": "1"}}), ["spec.pools[0].resources.limits", "nvidia.com/gpu"]),
        (
            pool(resources={"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}),
            ["spec.pools[0].resources.requests", "must not exceed limits"],
        ),
        (pool(nodeSelector={"a": "b" * 64}), ["spec.pools[0].nodeSelector.a"]),
        ({"replicas": -1}, ["spec.replicas"]),
        (pool(replicas={"max": 2}) | {"replicas": 3}, ["spec.replicas", "spec.pools[0].replicas.max"]),
    ],
    ids=str,
)
def test_refused(api: Api, spec: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        api.create("bad", **spec)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("name", "pools", "word"),
    [
        ("1chat", [{"name": "cpu"}], "metadata.name"),
        ("chat.v2", [{"name": "cpu"}], "metadata.name"),
        ("n" * 40, [{"name": "p" * 23}], "spec.pools"),
    ],
)
def test_names_that_make_no_service(api: Api, name: str, pools: list[dict[str, Any]], word: str) -> None:
    with pytest.raises(Refused, match=word):
        api.create(name, pools=pools)


def test_unknown_fields_are_named(api: Api) -> None:
    body = {
        "apiVersion": "springtide.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "bad"},
        "spec": {"model": MODEL, "pools": [{"name": "cpu", "gpu": 1}]},
    }
    with pytest.raises(Refused, match=r"unknown field \"spec.pools\[0\].gpu\""):
        api.call("POST", MODEL_SERVICES, body, fieldValidation="Strict")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"model": {"uri": "oci://localhost:5000/a/b_c", "revision": "v1.2"}},
        {"model": {"uri": f"oci://x/y@{DIGEST}"}},
        {"pools": [{"name": "p" * 40}]},
        pool(resources={"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"cpu": "1000m", "nvidia.com/gpu": 8}}),
        pool(replicas={"max": 2}) | {"replicas": 0},
    ],
    ids=str,
)
def test_taken(api: Api, spec: dict[str, Any]) -> None:
    api.create("good", **spec)
    api.delete(MODEL_SERVICES, "good")


def test_nothing_is_filled_in(api: Api) -> None:
    assert "replicas" not in api.create("plain")["spec"]
    api.delete(MODEL_SERVICES, "plain")
