"""Models from everywhere but an image: an object store, a hub, a claim, and the runtime's own image."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hack import models
from hack.cluster import node
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.demo import manifests
from hack.images import catalog
from tests.model_server.hub import Hub
from tests.model_server.store import S3

from .support import (
    NAMESPACE,
    apply,
    ask,
    condition,
    delete,
    eventually,
    get,
    is_settled,
    scale,
    serves,
    service_address,
    serving_pods,
)

TEXTS = ["The tide is high tonight.", "He repaired the old bicycle."]
REPO = "springtide/private-minilm"
FETCHED = r"GET /models/minilm/"  # an object, not the listing
READY_SECONDS = 300  # on a busy machine
# It answers with what it was told, and ends when it is told to.
OWN_SERVER = """
import http.server, json, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/up", "/told") else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"told": sys.argv[1:], "files": os.listdir(sys.argv[3])}).encode())
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
"""


def files() -> dict[str, bytes]:
    folder = models.folder("minilm")
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def store(demo: Spec) -> Iterator[S3]:
    """An S3 store, as it is seen from pods."""
    with S3(str(demo.host_address)) as store:
        assert isinstance(store, S3)
        store.create("models")
        for path, data in files().items():
            store.put("models", f"minilm/{path}", data)
        yield store


@pytest.fixture(scope="module")
def hub(demo: Spec) -> Iterator[Hub]:
    """A hub with a private repository, as it is seen from pods; its large files are on a host of another name."""
    with Hub(str(demo.host_address)) as hub:
        assert isinstance(hub, Hub)
        hub.files_host = f"hub-files.{NAMESPACE}.svc"
        hub.push(REPO, files())
        yield hub


@pytest.fixture(scope="module")
def surroundings(demo: Spec, store: S3, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Secrets, claims and a name for the host, as an administrator makes them."""
    cache = tmp_path_factory.mktemp("cache")  # root's, and for root alone: fsGroup has to open it
    weights = models.folder("minilm").parent
    objects = [
        secret("store-key", store.environment),
        secret("hub-token", {"HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_wrong"}),
        *manifests.claim(demo, NAMESPACE, "cache", cache, "ReadWriteMany"),
        *manifests.claim(demo, NAMESPACE, "weights", weights, "ReadOnlyMany"),
        *name_of_the_host(demo, "hub-files"),
    ]
    text = yaml.safe_dump_all(objects)
    kubectl(demo, "apply", "--server-side", f"--namespace={NAMESPACE}", "--filename=-", stdin=text)
    yield
    kubectl(demo, "delete", f"--namespace={NAMESPACE}", "--filename=-", stdin=text)


@pytest.fixture(scope="module", autouse=True)
def services(demo: Spec, surroundings: None, crashing: str) -> Iterator[None]:
    """All ModelServices of this file, made at once: most of a start is waiting."""
    for each in demo.node_list:
        node.load_image(each, catalog.python().archive)
    apply(demo, "of-store", model=embedder("s3://models/minilm", "store-key"), cache={"claimName": "cache"})
    apply(demo, "of-hub", model=embedder(f"hf://{REPO}", "hub-token"))
    apply(demo, "of-claim", model=embedder(f"pvc://weights/{models.folder('minilm').name}"))
    own = {
        "name": "Custom",
        "image": catalog.PYTHON,
        "args": ["-c", OWN_SERVER, "$(PORT)", "$(MODEL_NAME)", "$(MODEL_PATH)"],
        "port": 9000,
        "readinessPath": "/up",
        "livenessPath": "/up",
    }
    apply(demo, "of-image", model={"uri": "file:///usr/lib/python3.11/json"}, runtime=own)
    yield
    for name in "of-store", "of-hub", "of-claim", "of-image":
        delete(demo, name)
    for name in "of-store", "of-hub", "of-claim", "of-image":
        eventually(functools.partial(is_gone, demo, name), f"the pods of {name} to go", 120)


def is_gone(spec: Spec, service: str) -> bool:
    return not get(spec, "pods", labels=f"springtide.dev/service={service}")


def embedder(uri: str, secret: str = "") -> dict[str, str]:
    return {"uri": uri, "task": "Embed"} | ({"credentialsSecretName": secret} if secret else {})


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def name_of_the_host(spec: Spec, name: str) -> list[dict[str, Any]]:
    """A name in the cluster's DNS that leads to this host."""
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"clusterIP": "None"}}
    addresses = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(spec.host_address)]}],
    }
    return [service, addresses]


def vectors(spec: Spec, service: str) -> list[list[float]]:
    """Ask through the Service, once it is Ready."""
    address = service_address(spec, service)
    eventually(lambda: serves(address), f"{service} to answer the host", 30)
    answer = json.loads(ask(address, "/v1/embeddings", {"model": service, "input": TEXTS}))
    return [item["embedding"] for item in answer["data"]]


def check_answers(spec: Spec, service: str) -> None:
    """Wait until it is Ready; its vectors are those of the same model out of an image."""
    eventually(lambda: is_settled(spec, service), f"{service} to be Ready", READY_SECONDS)
    for mine, other in zip(vectors(spec, service), vectors(spec, "embed"), strict=True):
        assert mine == pytest.approx(other, abs=1e-4)


def test_a_wrong_token_is_told_and_the_right_one_heals_without_an_edit(demo: Spec, hub: Hub) -> None:
    eventually(lambda: condition(demo, "of-hub", "Ready").get("reason") == "ModelFetchFailed", "the refusal", 120)
    for kind in "Ready", "Available":
        said = condition(demo, "of-hub", kind)
        assert (said["status"], said["reason"]) == ("False", "ModelFetchFailed")
        assert f"hf://{REPO}" in said["message"]
        assert "put a valid token into the Secret named by model.credentialsSecretName" in said["message"]
    right = secret("hub-token", {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token})
    kubectl(demo, "apply", "--server-side", f"--namespace={NAMESPACE}", "--filename=-", stdin=json.dumps(right))
    check_answers(demo, "of-hub")
    assert hub.asked("/cdn/"), "the large file came from the other host"


def test_a_model_of_a_store_is_fetched_into_a_claim_once_for_all_pods(demo: Spec, store: S3) -> None:
    check_answers(demo, "of-store")
    wanted = {path: data for path, data in files().items() if not path.startswith(".")}
    assert store.bytes_sent(FETCHED) == sum(map(len, wanted.values()))
    store.seen.clear()
    scale(demo, "of-store", 2)
    eventually(lambda: is_settled(demo, "of-store", 2), "the second replica to be Ready", READY_SECONDS)
    assert {pod["spec"]["nodeName"] for pod in serving_pods(demo, "of-store")} == {each.name for each in demo.node_list}
    assert store.asked(r"GET /models/?\?"), "the second pod has asked for the listing"
    assert not store.asked(FETCHED)


def test_a_folder_of_a_claim_is_mounted(demo: Spec) -> None:
    check_answers(demo, "of-claim")


def test_a_server_of_ones_own_is_told_its_port_its_name_and_a_folder_of_its_image(demo: Spec) -> None:
    eventually(lambda: is_settled(demo, "of-image"), "it to be Ready", READY_SECONDS)
    assert condition(demo, "of-image", "Available")["status"] == "True"
    address = service_address(demo, "of-image")
    eventually(lambda: "told" in answer(address), "it to answer the host", 30)
    assert json.loads(answer(address))["told"] == ["9000", "of-image", "/usr/lib/python3.11/json"]
    assert "decoder.py" in json.loads(answer(address))["files"]


def answer(address: str) -> str:
    try:
        return ask(address, "/told", seconds=5)
    except OSError:
        return ""
