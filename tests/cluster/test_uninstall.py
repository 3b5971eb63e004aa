"""Installing, checking and uninstalling the chart around services that go on serving."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.demo import install, manifests
from hack.demo.install import SYSTEM
from hack.images.catalog import ROOT
from tests.audit import requests

from .support import NAMESPACE, chat, condition, delete, eventually, get, helm, service_address, serving_pods, upgrade

OPERATOR = f"system:serviceaccount:{SYSTEM}:springtide-operator"
LEAVING = "leaving"


def uninstall(spec: Spec) -> None:
    helm(spec, "uninstall", "springtide", "--wait", "--timeout=90s")


def leader(spec: Spec) -> str:
    lease = get(spec, "lease", "springtide-operator", namespace=SYSTEM)
    return str(lease["spec"].get("holderIdentity") or "")


def operators(spec: Spec) -> list[dict[str, Any]]:
    return get(spec, "pods", labels="app.kubernetes.io/name=springtide-operator", namespace=SYSTEM)  # type: ignore[no-any-return]


def versions(spec: Spec) -> dict[str, str]:
    """Return the resourceVersion of all ModelServices and of everything that is made for them."""
    found = get(spec, "modelservices,deployments,services,serviceaccounts,configmaps,pods")
    return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}


def service(name: str) -> str:
    """Return a ModelService whose pods fit on no node."""
    pool = {"name": "cpu", "resources": {"requests": {"memory": "900Gi"}}}
    spec = {"model": {"uri": "oci://models.springtide.dev/smollm2-135m-instruct:v1"}, "pools": [pool]}
    body = {"apiVersion": "springtide.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}, "spec": spec}
    return json.dumps(body)


def has_deployment(spec: Spec, name: str) -> bool:
    return bool(get(spec, "deployments", labels=f"springtide.dev/service={name}", namespace=LEAVING))


@pytest.fixture(scope="module")
def installed(demo: Spec) -> Iterator[Spec]:
    """The demo with both examples Ready and nothing else; what is missing at the end is put back."""
    put_back(demo)
    for other in {one["metadata"]["name"] for one in get(demo, "modelservices")} - {"chat", "embed"}:
        delete(demo, other)
        eventually(lambda: not get(demo, "pods", labels=f"springtide.dev/service={other}"), f"{other}'s pods to go", 90)  # noqa: B023
    for name in "chat", "embed":
        kubectl(demo, "scale", f"modelservice/{name}", f"--namespace={NAMESPACE}", "--replicas=1")
        eventually(ready(demo, name), f"{name} to be Ready", 180)
    yield demo
    put_back(demo)  # who needs them Ready waits for it


def put_back(spec: Spec) -> None:
    install.operator(spec)
    kubectl(spec, "apply", f"--namespace={NAMESPACE}", f"--filename={ROOT}/examples")


def ready(spec: Spec, name: str) -> Callable[[], bool]:
    return lambda: condition(spec, name, "Ready").get("status") == "True" and len(serving_pods(spec, name)) == 1


def test_helm_test_passes_and_leaves_nothing(installed: Spec) -> None:
    said = helm(installed, "test", "springtide", "--timeout=3m")
    assert "Succeeded" in said
    labels = "app.kubernetes.io/name=springtide-test"
    left = kubectl(
        installed, "get", "pods,roles,rolebindings,serviceaccounts", f"--selector={labels}", f"-n={SYSTEM}", "-o=name"
    )
    assert left == ""
    assert "usage: springtide" in kubectl(
        installed, "exec", "deployment/springtide-operator", f"--namespace={SYSTEM}", "--", "springtide", "--help"
    )


def test_a_second_operator_takes_over(installed: Spec) -> None:
    upgrade(installed, "replicas=2")
    eventually(lambda: len(operators(installed)) == 2, "the old pod to go", 40)
    pods = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in operators(installed)}
    assert len(pods) == len(set(pods.values())) == 2, "one on each node"
    eventually(lambda: leader(installed) in pods, "one of them to lead", 30)
    first = leader(installed)
    started = time.monotonic()
    kubectl(installed, "delete", "pod", first, f"--namespace={SYSTEM}", "--wait=false")
    eventually(lambda: leader(installed) not in ("", first), "another to lead", 10)
    assert time.monotonic() - started < 10
    # An update of the operator, too, hands over.
    upgrade(installed, "replicas=1", "logLevel=debug")
    eventually(lambda: len(operators(installed)) == 1, "the old ones to go", 40)
    eventually(lambda: leader(installed) == operators(installed)[0]["metadata"]["name"], "the new one to lead", 30)


def test_services_outlive_the_chart_and_are_taken_over_untouched(installed: Spec) -> None:
    kubectl(installed, "apply", "--filename=-", stdin=json.dumps(manifests.namespace(LEAVING)))
    for name in "one", "two":
        kubectl(installed, "apply", f"--namespace={LEAVING}", "--filename=-", stdin=service(name))
        eventually(functools.partial(has_deployment, installed, name), "its Deployment")
    eventually(lambda: quiet(installed), "the operator to have nothing to do", 60)
    before = versions(installed)
    uninstall(installed)
    assert helm(installed, "list", "--short") == ""
    eventually(lambda: not operators(installed), "the operator to end", 40)
    assert versions(installed) == before
    assert "Paris" in chat(service_address(installed, "chat"), "What is the capital of France?")

    # Without an operator nothing has a finalizer of ours to wait for.
    kubectl(installed, "delete", "modelservice", "one", f"--namespace={LEAVING}", "--timeout=20s")
    eventually(lambda: not has_deployment(installed, "one"), "its children to go")
    kubectl(installed, "delete", "namespace", LEAVING, "--timeout=60s", "--request-timeout=70s")

    started = time.time()
    install.operator(installed)
    eventually(lambda: leader(installed) in {pod["metadata"]["name"] for pod in operators(installed)}, "it to lead", 30)
    time.sleep(5)
    assert versions(installed) == before
    written = [
        one
        for one in requests(installed)
        if one.user == OPERATOR and one.time >= started and one.writes and not one.denied
    ]
    # A forecaster that starts again writes forecasts, and each is judged.
    assert {one.resource for one in written} - {"trafficforecasts/status"} == {"leases"}, written


def quiet(spec: Spec) -> bool:
    before = versions(spec)
    time.sleep(2)
    return versions(spec) == before


def test_the_definition_goes_when_it_is_not_kept(installed: Spec) -> None:
    install.operator(installed)
    upgrade(installed, "crds.keep=false")
    # The operator is gone already, so nothing may wait for it.
    kubectl(installed, "delete", "deployment", "springtide-operator", f"--namespace={SYSTEM}", "--timeout=60s")
    uninstall(installed)
    left = kubectl(installed, "get", "crd", "--output=name")
    assert ".springtide.dev" not in left
    made = "deployments,services,replicasets,pods"
    eventually(
        lambda: kubectl(installed, "get", made, f"-n={NAMESPACE}", "-l=springtide.dev/service", "-o=name") == "",
        "everything to go",
        90,
    )
