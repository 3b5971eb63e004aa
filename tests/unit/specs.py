"""Good and bad specs, held against the API server and against `springtide validate`."""

from typing import Any

MODEL = {"uri": "oci://models.springtide.dev/chat:v1"}
DIGEST = f"sha256:{'0' * 64}"


def pool(**more: Any) -> dict[str, Any]:
    return {"pools": [{"name": "cpu"} | more]}


def schedule(**more: Any) -> dict[str, Any]:
    return {"scaling": {"schedules": [{"name": "night", "start": "22:00", "end": "06:00", "minReplicas": 2} | more]}}


# What is wrong with a spec, and words that the API server's message has.
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"model": {"uri": "https://x/y"}}, ["spec.model.uri", "must begin with oci://, hf://"]),
    ({"model": {"uri": "hf://a/b/c"}}, ["spec.model.uri", "hf://ORGANIZATION/REPOSITORY"]),
    ({"model": {"uri": "s3://models"}}, ["spec.model.uri", "s3://BUCKET/PREFIX"]),
    ({"model": {"uri": "s3://models/a b"}}, ["spec.model.uri", "s3://BUCKET/PREFIX"]),
    ({"model": {"uri": "pvc://Models/a"}}, ["spec.model.uri", "pvc://CLAIM/PATH"]),
    ({"model": {"uri": "pvc://models/../a"}}, ["spec.model.uri", "must not have . or .."]),
    ({"model": {"uri": "s3://models/$(HTTPS_PROXY)"}}, ["spec.model.uri", "must not hold $"]),
    ({"model": {"uri": "file://models"}}, ["spec.model.uri", "file:///PATH"]),
    ({"model": {"uri": "s3://models/a", "revision": "v2"}}, ["spec.model.revision", "only oci:// and hf://"]),
    ({"model": {"uri": "oci://x/y", "revision": "refs/pr/1"}}, ["spec.model.revision", "tag or sha256"]),
    (
        {"model": {"uri": "file:///m", "credentialsSecretName": "s"}},
        ["spec.model.credentialsSecretName", "only oci://, hf:// and s3://"],
    ),
    ({"cache": {"claimName": "models"}}, ["spec.cache", "no model is fetched"]),
    (pool(model={"uri": "ftp://x"}), ["spec.pools[0].model.uri", "must begin with oci://, hf://"]),
    (pool(model={"uri": "oci://x/y:v1", "revision": "v2"}), ["spec.pools[0].model.revision", "already has a tag"]),
    ({"precision": "INT4"}, ["spec.precision", '"FP32", "BF16"']),
    ({"runtime": {"name": "Custom"}}, ["spec.runtime.image", "is required with name Custom"]),
    (pool(runtime={"name": "Custom"}), ["spec.pools[0].runtime.image", "is required with name Custom"]),
    ({"runtime": {"env": [{"name": "A"}, {"name": "A"}]}}, ["spec.runtime.env[1]", "Duplicate"]),
    ({"runtime": {"env": [{"name": "1A"}]}}, ["spec.runtime.env[0].name"]),
    ({"runtime": {"port": 80}}, ["spec.runtime.port"]),
    ({"runtime": {"readinessPath": "health"}}, ["spec.runtime.readinessPath"]),
    (pool(accelerator={"type": "DRA", "resourceName": "a/b"}), ["spec.pools[0].accelerator.type", '"DevicePlugin"']),
    (pool(accelerator={"type": "DevicePlugin", "resourceName": "gpu"}), ["spec.pools[0].accelerator.resourceName"]),
    (
        pool(
            accelerator={"type": "DevicePlugin", "resourceName": "nvidia.com/gpu"},
            resources={"limits": {"nvidia.com/gpu": 1}},
        ),
        ["spec.pools[0].resources", "whose count says how many"],
    ),
    (pool(update={"maxSurge": 0}), ["spec.pools[0].update", "must not both be 0"]),
    ({"model": {"uri": "oci://x"}}, ["spec.model.uri", "REGISTRY/REPOSITORY"]),
    ({"model": {"uri": "oci://x/y:v1", "revision": "v2"}}, ["spec.model.revision", "already has a tag"]),
    ({"model": {"uri": f"oci://x/y@{DIGEST}", "revision": "v2"}}, ["spec.model.revision", "digest"]),
    ({"model": {"uri": "oci://x/y", "revision": "sha256:abc"}}, ["spec.model.revision"]),
    ({"model": MODEL | {"task": "Draw"}}, ["spec.model.task", '"Generate", "Embed"']),
    ({"runtime": {"name": "Triton"}}, ["spec.runtime.name", '"ModelServer", "VLLM"']),
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
    ({"batching": {"maxBatchSize": 0}}, ["spec.batching.maxBatchSize"]),
    ({"batching": {"maxQueueDelayMilliseconds": -1}}, ["spec.batching.maxQueueDelayMilliseconds"]),
    ({"batching": {"targetMemoryPercent": 101}}, ["spec.batching.targetMemoryPercent"]),
    ({"priorities": [{"name": "Gold"}]}, ["spec.priorities[0].name"]),
    (pool(capacity={"requestsPerSecond": "0"}), ["spec.pools[0].capacity.requestsPerSecond", "must be more than 0"]),
    (pool(capacity={"requestsPerSecond": "fast"}), ["spec.pools[0].capacity.requestsPerSecond"]),
    (pool(costPerHour="-1"), ["spec.pools[0].costPerHour"]),
    ({"objectives": {"attainmentPercent": "100"}}, ["spec.objectives.attainmentPercent", "less than 100"]),
    ({"objectives": {"attainmentPercent": 49}}, ["spec.objectives.attainmentPercent", "at least 50"]),
    ({"objectives": {"latencyP99Milliseconds": 0}}, ["spec.objectives.latencyP99Milliseconds"]),
    ({"objectives": {"timeToFirstTokenP99Milliseconds": 0}}, ["spec.objectives.timeToFirstTokenP99Milliseconds"]),
    ({"scaling": {"mode": "On"}}, ["spec.scaling.mode", '"Auto", "Observe"']),
    ({"scaling": {"forecast": "On"}}, ["spec.scaling.forecast", '"Auto", "Observe"']),
    ({"scaling": {"costOfShortage": 0}}, ["spec.scaling.costOfShortage", "must be more than 0"]),
    ({"scaling": {"scaleDownStabilizationSeconds": 3601}}, ["spec.scaling.scaleDownStabilizationSeconds"]),
    (schedule(start="8:00"), ["spec.scaling.schedules[0].start"]),
    (schedule(end="24:00"), ["spec.scaling.schedules[0].end"]),
    (schedule(days=["Mon"]), ["spec.scaling.schedules[0].days[0]", '"Monday"']),
    (schedule(minReplicas=0), ["spec.scaling.schedules[0].minReplicas"]),
    (schedule(timezone="Europe/"), ["spec.scaling.schedules[0].timezone"]),
    (schedule(pool="gpu"), ["spec.scaling.schedules", "must name pools that exist"]),
    ({"priorities": [{"name": "a"}, {"name": "a"}]}, ["spec.priorities[1]", "Duplicate"]),
    ({"priorities": [{"name": f"c{number}"} for number in range(9)]}, ["spec.priorities"]),
    ({"priorities": [{"name": "a", "reservedPercent": 101}]}, ["spec.priorities[0].reservedPercent"]),
    ({"priorities": [{"name": "a", "sheddable": "yes"}]}, ["spec.priorities[0].sheddable", "boolean"]),
    ({"priorities": [{"name": "a", "sheddable": 1}]}, ["spec.priorities[0].sheddable", "boolean"]),
    (
        {"priorities": [{"name": "a", "reservedPercent": 60}, {"name": "b", "reservedPercent": 41}]},
        ["spec.priorities", "more than 100 percent"],
    ),
    ({"runtime": {"name": "VLLM"}, "batching": {"maxBatchSize": 8}}, ["spec.batching", "no pool has the runtime"]),
    (pool(runtime={"name": "VLLM"}) | {"priorities": [{"name": "a"}]}, ["spec.priorities", "no pool has the runtime"]),
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
    {"model": {"uri": "hf://Qwen/Qwen3-8B", "revision": "refs/pr/1", "credentialsSecretName": "hf-token"}},
    {"model": {"uri": "hf://gpt2"}, "cache": {"claimName": "models"}},
    {"model": {"uri": "s3://models/qwen3/8b"}},
    {"model": {"uri": "pvc://models"}},
    {"model": {"uri": "pvc://models/qwen3/8b.v2"}},
    {"model": {"uri": "file:///opt/models/chat"}},
    {"cache": {"claimName": "models"}} | pool(model={"uri": "s3://models/small"}),
    {"precision": "INT8"},
    {"precision": "BF16", "runtime": {"name": "VLLM", "port": 8080, "env": [{"name": "A", "value": "b"}]}},
    pool(runtime={"name": "Custom", "image": "x/y", "command": ["serve"], "readinessPath": "/ok"}),
    pool(accelerator={"type": "DevicePlugin", "resourceName": "nvidia.com/gpu", "count": 8}, precision="FP8")
    | {"runtime": {"name": "SGLang"}},
    pool(update={"maxSurge": 0, "maxUnavailable": 1}),
    {
        "batching": {"maxBatchSize": 1, "maxQueueDelayMilliseconds": 0, "targetMemoryPercent": 100},
        "priorities": [{"name": "a", "reservedPercent": 60}, {"name": "b", "reservedPercent": 40, "sheddable": True}],
    },
    {"runtime": {"name": "VLLM"}, "batching": {}, "priorities": [{"name": "a"}]}
    | {"pools": [{"name": "gpu"}, {"name": "cpu", "runtime": {"name": "ModelServer"}}]},
    {"runtime": {"name": "VLLM"}, "priorities": []},
    pool(capacity={"requestsPerSecond": "1.5"}, costPerHour="12.50", replicas={"min": 2, "max": 40})
    | {
        "objectives": {
            "latencyP99Milliseconds": 500,
            "timeToFirstTokenP99Milliseconds": 300,
            "attainmentPercent": "99.9",
        }
    }
    | {"scaling": {"mode": "Observe", "forecast": "Off", "costOfShortage": "0.5", "scaleDownStabilizationSeconds": 0}},
    schedule(pool="cpu", timezone="America/Argentina/Buenos_Aires", days=["Monday", "Sunday"]),
    schedule(timezone="Etc/GMT+1", start="00:00", end="00:00"),
    # the API server drops a null before it looks at the field
    {"replicas": None, "runtime": None},
    pool(replicas={"min": 2, "max": None}, nodeSelector={"a": None}),
]
