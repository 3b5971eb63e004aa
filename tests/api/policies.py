"""The chart's admission objects, and what a person gets who is refused."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from hack.cluster.tools import program
from tests.api.support import MODEL_SERVICES, ROOT, Api, Refused

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps"
PATHS = {
    "ValidatingAdmissionPolicy": f"{ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
    "ConfigMap": CONFIG_MAPS,
}
PARAMETERS = "test-operator-admission"
APPLY = "application/apply-patch+yaml"
SERVICES_ONLY = [
    {
        "apiGroups": ["springtide.dev"],
        "resources": ["modelservices", "modelservices/scale"],
        "verbs": ["get", "list", "create", "update", "patch", "delete"],
    }
]
IMAGE = "registry.example.com/team/server:v1"
CHOSEN = {"image": IMAGE, "args": ["--verbose"]}


def render(namespace: str, *settings: str) -> list[dict[str, Any]]:
    """Return the chart's admission objects, which act in this namespace only: others share the API server."""
    command: list[str | Path] = [
        program("helm"),
        "template",
        "test",
        ROOT / "charts/springtide",
        "--namespace",
        namespace,
    ]
    command += ["--show-only", "templates/admission.yaml", "--set", f"namespaces={{{namespace}}}", *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def refusal(who: Api, name: str, **spec: Any) -> str:
    """Create a service and take it away again; return the message when it was refused."""
    try:
        who.create(name, **spec)
    except Refused as refused:
        return str(refused)
    who.delete(MODEL_SERVICES, name)
    return ""
