"""Runtimes, overrides and the ways in which a model comes to its server."""

from typing import Any

import pytest

from springtide.api.errors import Invalid
from springtide.manifests.revisions import plan_pools
from springtide.manifests.runtimes import PROFILES
from springtide.manifests.settings import Settings
from tests.unit.samples import model_service

SETTINGS = Settings("model-server:1", images={"VLLM": "vllm:1", "SGLang": "sglang:1"})
GPUS = {"type": "DevicePlugin", "resourceName": "nvidia.com/gpu", "count": 2}


def pod(settings: Settings = SETTINGS, pool: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    whole = {"model": {"uri": "oci://r.example/m:v1"}, "pools": [{"name": "cpu"} | (pool or {})]} | spec
    return dict(plan_pools(model_service(whole), settings)[0].template["spec"])


def server(settings: Settings = SETTINGS, pool: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return dict(pod(settings, pool, **spec)["containers"][0])


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def refers_only_to_what_is_there(container: dict[str, Any]) -> bool:
    words = " ".join([*container.get("command", ()), *container["args"]])
    names = {part.split(")")[0] for part in words.split("$(")[1:]}
    return names <= environment(container).keys()


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("task", ["Generate", "Embed"])
def test_every_runtime_is_started_with_the_model_its_name_and_its_port(name: str, task: str) -> None:
    runtime = {"name": name} | ({"image": "c:1", "args": ["$(MODEL_PATH)", "$(MODEL_NAME)", "$(PORT)"]})
    container = server(model={"uri": "oci://r.example/m:v1", "task": task}, runtime=runtime, pool={"accelerator": GPUS})
    assert refers_only_to_what_is_there(container)
    words = " ".join(container["args"])
    assert all(part in words for part in ("$(MODEL_PATH)", "$(MODEL_NAME)", "$(PORT)"))
    values = environment(container)
    assert (values["MODEL_PATH"], values["MODEL_NAME"], values["PORT"]) == ("/models/model", "chat", "8000")
    assert container["ports"][0]["containerPort"] == 8000
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_vllm() -> None:
    container = server(runtime={"name": "VLLM"}, precision="FP8", pool={"accelerator": GPUS})
    assert container["image"] == "vllm:1"
    assert container["command"] == ["vllm", "serve"]
    assert container["args"][7:9] == ["--shutdown-timeout", "$(DRAIN_SECONDS)"]
    assert container["args"][-4:] == ["--quantization", "fp8", "--tensor-parallel-size", "$(ACCELERATORS)"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/health"
    assert container["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "shared-memory" in [one["name"] for one in container["volumeMounts"]]


@pytest.mark.parametrize("precision", ["FP32", "BF16", "FP16", "INT8", "W8A8"])
def test_a_pool_of_model_servers_runs_in_its_own_precision(precision: str) -> None:
    container = server(precision="FP32", pool={"precision": precision})
    assert container["args"][-2:] == ["--precision", precision]


def test_custom_is_what_its_author_wrote() -> None:
    runtime = {
        "name": "Custom",
        "image": "mine:1",
        "command": ["serve"],
        "args": ["--model=$(MODEL_PATH)"],
        "env": [{"name": "HOME", "value": "/data"}],
        "port": 9000,
        "readinessPath": "/ready",
        "livenessPath": "/live",
        "metricsPath": "/stats",
        "startupSeconds": 61,
        "drainSeconds": 120,
    }
    template = plan_pools(
        model_service({"model": {"uri": "file:///m"}, "runtime": runtime, "pools": [{"name": "cpu"}]}), SETTINGS
    )[0].template
    container = template["spec"]["containers"][0]
    assert (container["command"], container["args"]) == (["serve"], ["--model=$(MODEL_PATH)"])
    assert environment(container)["HOME"] == "/data"
    assert environment(container)["MODEL_PATH"] == "/m"
    assert container["ports"][0]["containerPort"] == 9000
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/live"
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] >= 61
    assert template["spec"]["terminationGracePeriodSeconds"] == 135
    assert template["metadata"]["annotations"]["prometheus.io/path"] == "/stats"
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "9000"


def test_our_own_server_drains_by_itself() -> None:
    container = server(runtime={"drainSeconds": 90})
    assert "lifecycle" not in container
    words = " ".join(container["args"])
    assert "--drain-seconds 5 --shutdown-seconds $(DRAIN_SECONDS)" in words
    assert environment(container)["DRAIN_SECONDS"] == "90"


def test_a_pool_overrides_field_by_field() -> None:
    general = {"image": "general:1", "args": ["--a"], "port": 9000}
    container = server(runtime=general, pool={"runtime": {"args": ["--b"]}})
    assert (container["image"], container["args"][-1], container["ports"][0]["containerPort"]) == (
        "general:1",
        "--b",
        9000,
    )


def test_an_empty_list_takes_nothing_away() -> None:
    general = {"name": "Custom", "image": "c:1", "command": ["serve"], "args": ["--a"], "env": [{"name": "A"}]}
    container = server(runtime=general, pool={"runtime": {"command": [], "args": [], "env": []}})
    assert (container["command"], container["args"]) == (["serve"], ["--a"])
    assert {"name": "A"} in container["env"], "an empty value is left out, as the API server leaves it out"


def test_what_is_empty_is_left_out() -> None:
    assert not {"args", "command"} & server(runtime={"name": "Custom", "image": "c:1"}).keys()


def test_a_pool_with_another_runtime_takes_nothing_of_the_first() -> None:
    general = {"name": "VLLM", "image": "vllm:2", "args": ["--max-model-len", "9"], "env": [{"name": "A"}]}
    container = server(runtime=general, pool={"runtime": {"name": "ModelServer"}})
    assert container["image"] == "model-server:1"
    assert "--max-model-len" not in container["args"]
    assert "A" not in environment(container)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (
            {"precision": "FP8"},
            "spec.pools[cpu].precision: FP8 can't be had with runtime ModelServer, which takes: FP32, BF16, FP16, INT8",
        ),
        (
            {"precision": "INT8", "runtime": {"name": "VLLM"}},
            "spec.pools[cpu].precision: INT8 can't be had with runtime VLLM, which takes: FP32, BF16, FP16, FP8",
        ),
        (
            {"runtime": {"name": "Custom", "image": "c"}, "precision": "BF16"},
            "spec.pools[cpu].precision: BF16 can't be had with runtime Custom, which takes: none",
        ),
        (
            {"pools": [{"name": "cpu", "model": {"revision": "v2"}}]},
            "spec.pools[cpu].model.revision: must be left out: uri already has a tag",
        ),
    ],
)
def test_what_a_runtime_cannot_do_is_invalid(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        pod(**spec)
    assert words in str(caught.value)


def test_a_runtime_without_an_image_says_so() -> None:
    with pytest.raises(Invalid, match=r"spec.pools\[cpu\].runtime.image: is required: .* no image for VLLM"):
        pod(Settings("m:1"), runtime={"name": "VLLM"})


def test_oci_with_a_pull_secret() -> None:
    made = pod(model={"uri": "oci://r.example/m:v1", "credentialsSecretName": "pull"})
    assert made["imagePullSecrets"] == [{"name": "pull"}]
    assert "initContainers" not in made


def test_pvc() -> None:
    made = pod(model={"uri": "pvc://models/qwen3/8b"})
    assert made["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    mount = made["containers"][0]["volumeMounts"][0]
    assert mount == {"name": "model", "mountPath": "/models/model", "readOnly": True, "subPath": "qwen3/8b"}
    assert "fsGroup" not in made["securityContext"], "the files of a user are not given to another group"


def test_file() -> None:
    made = pod(model={"uri": "file:///opt/model"})
    assert environment(made["containers"][0])["MODEL_PATH"] == "/opt/model"
    assert [volume["name"] for volume in made["volumes"]] == ["tmp", "policy"]


def test_hf_into_a_cache_claim() -> None:
    settings = Settings("m:1", fetch_environment={"HF_ENDPOINT": "http://mirror", "HTTPS_PROXY": "http://proxy"})
    made = pod(
        settings,
        model={"uri": "hf://org/model", "revision": "main", "credentialsSecretName": "token"},
        cache={"claimName": "models"},
        pool={"resources": {"limits": {"memory": "4Gi"}}, "accelerator": GPUS},
    )
    (fetcher,) = made["initContainers"]
    assert fetcher["name"] == "fetch-model"
    assert fetcher["args"][:4] == ["--uri", "hf://org/model", "--revision", "main"]
    assert environment(made["containers"][0])["MODEL_PATH"] == f"/models/cache/links/{fetcher['args'][-1]}"
    values = environment(fetcher)
    assert values["HF_TOKEN"] == {"secretKeyRef": {"name": "token", "key": "HF_TOKEN", "optional": False}}
    assert values["HF_ENDPOINT"]["secretKeyRef"]["optional"] is True
    assert values["HTTPS_PROXY"] == "http://proxy"
    assert values["SPRINGTIDE_DEFAULT_HF_ENDPOINT"] == "http://mirror", "the Secret may lack it"
    assert len(values) == len(fetcher["env"]), "a name twice is refused by the API server"
    assert fetcher["resources"] == {"limits": {"memory": "4Gi"}}, "a device is for the server alone"
    assert fetcher["securityContext"] == made["containers"][0]["securityContext"]
    assert made["volumes"][0] == {"name": "cache", "persistentVolumeClaim": {"claimName": "models"}}
    assert made["securityContext"]["fsGroup"] == 65532
    assert {"name": "cache", "mountPath": "/models/cache", "readOnly": True} in made["containers"][0]["volumeMounts"]


def test_each_pool_has_a_link_of_its_own() -> None:
    def link(**model: Any) -> str:
        made = pod(model={"uri": "s3://models/chat"} | model)
        return str(environment(made["containers"][0])["MODEL_PATH"])

    assert link() != link(credentialsSecretName="minio-b")
    assert link() == link()


def test_s3_without_a_claim() -> None:
    made = pod(model={"uri": "s3://models/a"})
    assert made["volumes"][0] == {"name": "cache", "emptyDir": {}}
    assert "--revision" not in made["initContainers"][0]["args"]


def test_accelerators() -> None:
    made = pod(pool={"accelerator": GPUS, "resources": {"requests": {"cpu": 1}}})
    assert made["containers"][0]["resources"] == {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": "2"}}
    assert made["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
