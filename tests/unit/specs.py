"""Good and bad specs, held against the API server and against `springtide validate`."""

from typing import Any

MODEL = {"uri": "oci://models.springtide.dev/chat:v1"}
DIGEST = f"sha256:{'0' * 64}"


def pool(**more: Any) -> dict[str, Any]:
    return {"pools": [{"name": "cpu"} | more]}


# What is wrong with a spec, and words that the API server's message has.
BAD: list[tuple[dict[str, Any], list[str]]] = [
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
    ({"replicas": "1"}, ["spec.replicas", "integer"]),
    (pool(replicas={"max": 2.5}), ["spec.pools[0].replicas.max", "integer"]),
    ({"model": {"uri": "oci://x/y\n"}}, ["spec.model.uri", "REGISTRY/REPOSITORY"]),
    (pool(resources={"requests": {"cpu": True}}), ["spec.pools[0].resources.requests.cpu"]),
    (pool(nodeSelector={"a": 1}), ["spec.pools[0].nodeSelector.a", "string"]),
    ({"replicas": -1}, ["spec.replicas"]),
    (pool(replicas={"max": 2}) | {"replicas": 3}, ["spec.replicas", "spec.pools[0].replicas.max"]),
]

BAD_NAMES: list[tuple[str, list[dict[str, Any]], str]] = [
    ("1chat", [{"name": "cpu"}], "metadata.name"),
    ("chat.v2", [{"name": "cpu"}], "metadata.name"),
    ("n" * 40, [{"name": "p" * 23}], "spec.pools"),
]

GOOD: list[dict[str, Any]] = [
    {},
    {"model": {"uri": "oci://localhost:5000/a/b_c", "revision": "v1.2"}},
    {"model": {"uri": f"oci://x/y@{DIGEST}"}},
    {"pools": [{"name": "p" * 40}]},
    pool(resources={"requests": {"cpu": 1, "memory": "1.5Gi"}, "limits": {"cpu": "1000m", "nvidia.com/gpu": 8}}),
    pool(replicas={"max": 2}) | {"replicas": 0},
    # the API server drops a null before it looks at the field
    {"replicas": None, "runtime": None},
    pool(replicas={"min": 2, "max": None}, nodeSelector={"a": None}),
]
