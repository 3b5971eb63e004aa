"""Puts Springtide and the models of the examples into a local cluster. The demo and the tests use the same steps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import yaml

from hack.cluster import node, prometheus
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.cluster.tools import program
from hack.images import catalog
from hack.images.buildah import Image
from hack.shell import Failure, run, say, tail

from . import manifests

SYSTEM = "springtide-system"
MODELS = {
    "smollm2": "models.springtide.dev/smollm2-135m-instruct:v1",
    "minilm": "models.springtide.dev/all-minilm-l6-v2:v1",
}


def load(spec: Spec) -> None:
    """Load the images of the examples on all nodes, built first when the cache lacks them."""
    weights = [catalog.model(name, image) for name, image in MODELS.items()]
    images = [catalog.operator(), catalog.model_server(), *weights]
    with ThreadPoolExecutor() as pool:
        work = [pool.submit(node.load_image, each, image.archive) for image in images for each in spec.node_list]
        for done in work:
            done.result()


def operator(spec: Spec, image: Image | None = None) -> None:
    """Install the chart, with this checkout's images or another operator, and wait until the operator is ready."""
    say("installing the chart")
    repository, _, tag = (image or catalog.operator()).reference.partition(":")
    server, _, server_tag = catalog.model_server().reference.partition(":")
    settings = {
        "image.repository": repository,
        "image.tag": tag,
        "modelServer.image.repository": server,
        "modelServer.image.tag": server_tag,
        "modelServer.packagesClaim": manifests.CLAIM,
        **({"prometheus.url": prometheus.url(spec)} if spec.prometheus else {}),
    }
    try:
        run(
            *(program("helm"), "--kubeconfig", spec.kubeconfig, "upgrade", "--install", "springtide"),
            catalog.ROOT / "charts" / "springtide",
            *("--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "2m"),
            *(f"--set={name}={value}" for name, value in settings.items()),
        )
    except Failure as failure:
        raise Failure(f"{failure}\n{_what_is_there(spec)}") from None


def _what_is_there(spec: Spec) -> str:
    """What an administrator would look at first when the operator doesn't come up."""
    pods = kubectl(spec, "get", "deployments,replicasets,pods", f"--namespace={SYSTEM}", "--output=wide")
    events = kubectl(spec, "get", "events", f"--namespace={SYSTEM}", "--sort-by=.lastTimestamp")
    return f"{pods}\n{tail(events)}"


def namespace(spec: Spec, name: str) -> None:
    """Make a restricted namespace with the claim that model servers mount."""
    objects = [manifests.namespace(name), *manifests.packages(spec, name, catalog.packages())]
    kubectl(spec, "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(objects))
