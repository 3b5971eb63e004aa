"""What the tests on real nodes share."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable
from typing import Any

from hack.cluster import process
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.cluster.tools import program
from hack.demo.install import SYSTEM
from hack.images.catalog import ROOT
from hack.shell import run

NAMESPACE = "demo"
CHAT = {"uri": "oci://models.springtide.dev/smollm2-135m-instruct:v1"}
POOL = {
    "name": "cpu",
    "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "2Gi"}},
}


def eventually(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something is true; fail when it isn't after `seconds`."""
    process.wait_for(true, what, seconds)


def get(spec: Spec, kind: str, name: str = "", *, labels: str = "", namespace: str = NAMESPACE) -> Any:
    """Return an object, or the items of a list."""
    words = [kind, *([name] if name else []), *([f"--selector={labels}"] if labels else [])]
    found = json.loads(kubectl(spec, "get", *words, f"--namespace={namespace}", "--output=json"))
    return found if name else found["items"]


def apply(spec: Spec, name: str, **fields: Any) -> None:
    """Apply a ModelService, a chat model in one small pool unless told otherwise."""
    body = {
        "apiVersion": "springtide.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": {"model": CHAT, "pools": [POOL], **fields},
    }
    kubectl(spec, "apply", f"--namespace={NAMESPACE}", "--filename=-", stdin=json.dumps(body))


def delete(spec: Spec, name: str) -> None:
    """Delete a ModelService, if it is there."""
    kubectl(spec, "delete", "modelservice", name, f"--namespace={NAMESPACE}", "--ignore-not-found")


def scale(spec: Spec, name: str, replicas: int) -> None:
    """Scale a ModelService as a user does."""
    kubectl(spec, "scale", f"modelservice/{name}", f"--namespace={NAMESPACE}", f"--replicas={replicas}")


def condition(spec: Spec, service: str, kind: str) -> dict[str, str]:
    """Return a condition of a ModelService, empty when it has none of that type."""
    conditions = get(spec, "modelservice", service).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})


def is_settled(spec: Spec, service: str, replicas: int = 1) -> bool:
    """Tell whether a ModelService is Ready as it is written now, and has exactly so many pods."""
    found = get(spec, "modelservice", service)
    ready = condition(spec, service, "Ready").get("status") == "True"
    current = found.get("status", {}).get("observedGeneration") == found["metadata"]["generation"]
    return ready and current and len(serving_pods(spec, service)) == replicas


def serving_pods(spec: Spec, service: str) -> list[dict[str, Any]]:
    """Return the pods of a ModelService that aren't going away."""
    pods = get(spec, "pods", labels=f"springtide.dev/service={service}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def ask(address: str, path: str, body: dict[str, Any] | None = None, seconds: float = 60) -> str:
    """Ask a model server, from the host; return the body of its answer."""
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"http://{address}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds) as response:  # noqa: S310
        return str(response.read().decode())


def serves(address: str) -> bool:
    """Tell whether a ModelService answers the host: its node's rules may be later than those of the operator's node."""
    try:
        return bool(ask(address, "/readyz", seconds=5))
    except OSError:
        return False


def chat(address: str, question: str, **options: Any) -> str:
    """Ask a chat model at temperature 0; return the body of its answer."""
    messages = [{"role": "user", "content": question}]
    body = {"model": "chat", "messages": messages, "temperature": 0, "max_tokens": 20, **options}
    return ask(address, "/v1/chat/completions", body)


def service_address(spec: Spec, service: str) -> str:
    """Return the address of a Service."""
    return str(get(spec, "service", service)["spec"]["clusterIP"])


def helm(spec: Spec, *words: str) -> str:
    """Run helm in the release's namespace."""
    return run(program("helm"), "--kubeconfig", spec.kubeconfig, *words, "--namespace", SYSTEM)


def upgrade(spec: Spec, *settings: str) -> None:
    """Change values of the release, such as `replicas=2`, and wait until it is as they say."""
    values = [f"--set={setting}" for setting in settings]
    helm(
        spec, "upgrade", "springtide", f"{ROOT}/charts/springtide", "--reuse-values", "--wait", "--timeout=2m", *values
    )


def shell(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, stopping at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
