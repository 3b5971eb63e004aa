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

NAMESPACE = "demo"


def eventually(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait until something is true; fail when it isn't after `seconds`."""
    process.wait_for(true, what, seconds)


def get(spec: Spec, kind: str, name: str = "", *, labels: str = "", namespace: str = NAMESPACE) -> Any:
    """Return an object, or the items of a list."""
    words = [kind, *([name] if name else []), *([f"--selector={labels}"] if labels else [])]
    found = json.loads(kubectl(spec, "get", *words, f"--namespace={namespace}", "--output=json"))
    return found if name else found["items"]


def condition(spec: Spec, service: str, kind: str) -> dict[str, str]:
    """Return a condition of a ModelService, empty when it has none of that type."""
    conditions = get(spec, "modelservice", service).get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == kind), {})


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


def chat(address: str, question: str, **options: Any) -> str:
    """Ask a chat model at temperature 0; return the body of its answer."""
    messages = [{"role": "user", "content": question}]
    body = {"model": "chat", "messages": messages, "temperature": 0, "max_tokens": 20, **options}
    return ask(address, "/v1/chat/completions", body)


def service_address(spec: Spec, service: str) -> str:
    """Return the address of a Service."""
    return str(get(spec, "service", service)["spec"]["clusterIP"])


def shell(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would, stopping at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
