"""What a pod may do: seen from inside, and in the objects around it."""

from __future__ import annotations

import pytest

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.demo.install import SYSTEM
from hack.shell import Failure

from .support import NAMESPACE, get, serving_pods

SERVICES = ["chat", "embed"]

pytestmark = pytest.mark.usefixtures("examples")


def inside(spec: Spec, service: str, command: str) -> str:
    words = ("exec", f"deployment/{service}-cpu", f"--namespace={NAMESPACE}", "--", "sh", "-c", command)
    return kubectl(spec, *words).strip()


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_has_an_account_of_its_service_and_no_token(demo: Spec, service: str) -> None:
    for pod in serving_pods(demo, service):
        assert pod["spec"]["serviceAccountName"] == f"{service}-model-server"
        assert not [one for one in pod["spec"]["volumes"] if "projected" in one]
    assert inside(demo, service, "ls -A /var/run/secrets 2>/dev/null; ls -A /run/secrets 2>/dev/null; true") == ""
    may = (
        "auth",
        "can-i",
        "--list",
        f"--as=system:serviceaccount:{NAMESPACE}:{service}-model-server",
        f"--namespace={NAMESPACE}",
    )
    assert "pods" not in kubectl(demo, *may)


@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_writes_nowhere_but_to_its_tmp(demo: Spec, service: str) -> None:
    assert inside(demo, service, "id -u; echo ok > /tmp/here && cat /tmp/here").split() == ["65532", "ok"]
    for folder in "/", "/app", "/models/model", "/opt/packages":
        with pytest.raises(Failure, match="Read-only file system"):
            inside(demo, service, f"echo no > {folder}/here")
    assert inside(demo, service, "grep -E '^(CapEff|NoNewPrivs)' /proc/1/status").split() == [
        *("CapEff:", "0000000000000000"),
        *("NoNewPrivs:", "1"),
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_a_network_policy_names_who_may_connect(demo: Spec, service: str) -> None:
    """Local clusters enforce none, so only the object is looked at; the API server has taken it."""
    spec = get(demo, "networkpolicy", service)["spec"]
    selected = get(demo, "pods", labels=",".join(f"{k}={v}" for k, v in spec["podSelector"]["matchLabels"].items()))
    assert {pod["metadata"]["name"] for pod in selected} == {
        pod["metadata"]["name"] for pod in get(demo, "pods", labels=f"springtide.dev/service={service}")
    }
    assert spec["policyTypes"] == ["Ingress"]
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": "http", "protocol": "TCP"}]
    operator = next(one for one in rule["from"] if "podSelector" in one and "namespaceSelector" in one)
    selector = ",".join(f"{key}={value}" for key, value in operator["podSelector"]["matchLabels"].items())
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": SYSTEM}
    assert get(demo, "pods", labels=selector, namespace=SYSTEM), "the rule selects the operator that runs"
