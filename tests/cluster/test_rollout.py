"""What replaces pods and what doesn't, while clients ask without pause."""

from __future__ import annotations

import functools
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import node
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.demo import install
from hack.images import catalog
from hack.images.buildah import Image
from hack.shell import Failure

from .load import load, moments, stream, true_conditions, watch
from .support import (
    NAMESPACE,
    POOL,
    apply,
    ask,
    condition,
    eventually,
    get,
    is_settled,
    serves,
    service_address,
    serving_pods,
)

NAME = "roll"
MODEL = "models.springtide.dev/smollm2-135m-instruct"
PODS = "/api/v1/namespaces/{namespace}/pods"
MODEL_SERVICES = "/apis/springtide.dev/v1alpha1/namespaces/{namespace}/modelservices"
ROLLOUT_SECONDS = 400  # on a busy machine


@pytest.fixture(scope="module")
def address(demo: Spec) -> Iterator[str]:
    """The Service of a ModelService with two replicas of a model of which the nodes have two tags."""
    for each in demo.node_list:
        node.tag_image(each, f"{MODEL}:v1", f"{MODEL}:v2")
    revise(demo, "v1")
    settle(demo)
    found = service_address(demo, NAME)
    eventually(lambda: serves(found), "the Service to answer the host", 30)
    yield found
    kubectl(demo, "delete", "modelservice", NAME, f"--namespace={NAMESPACE}")


def revise(spec: Spec, revision: str) -> None:
    pool = POOL | {"replicas": {"min": 2}}
    # a stream that began before its pod was told to go may take long on a busy machine
    runtime = {"name": "ModelServer", "drainSeconds": 120}
    apply(spec, NAME, model={"uri": f"oci://{MODEL}", "revision": revision}, pools=[pool], runtime=runtime)


def settle(spec: Spec) -> None:
    eventually(lambda: is_settled(spec, NAME, 2), f"two replicas of {NAME} to be Ready", ROLLOUT_SECONDS)


def uids(spec: Spec) -> set[str]:
    return {pod["metadata"]["uid"] for pod in serving_pods(spec, NAME)}


def template(spec: Spec, deployment: str = f"{NAME}-cpu") -> Any:
    return get(spec, "deployment", deployment)["spec"]["template"]


def test_a_new_revision_replaces_all_pods_and_going_back_restores_the_first_template(demo: Spec, address: str) -> None:
    first, before = template(demo), uids(demo)
    for revision in "v2", "v1":
        with (
            watch(demo, PODS, labelSelector=f"springtide.dev/service={NAME}") as pods,
            watch(demo, MODEL_SERVICES, fieldSelector=f"metadata.name={NAME}") as services,
            load(address, NAME) as sent,
        ):
            time.sleep(2)
            old = uids(demo)
            revise(demo, revision)
            settle(demo)
            time.sleep(2)
            seen = moments(pods, 2)
            states = [true_conditions(event["object"]) for event in services.events()]
        assert not sent.failures
        assert min(sent.answered[kind] for kind in ("fresh", "kept", "stream")) > 3, sent.answered
        assert min(moment.ready for moment in seen) == 2
        assert max(moment.alive for moment in seen) == 3
        assert len(states) > 2 and all("Available" in state for state in states)
        assert not old & uids(demo)
        models = [pod["spec"]["volumes"][0]["image"]["reference"] for pod in serving_pods(demo, NAME)]
        assert models == [f"{MODEL}:{revision}"] * 2
    assert template(demo) == first
    assert not before & uids(demo)


def test_a_tag_that_is_missing_leaves_the_old_replicas_serving(demo: Spec, address: str) -> None:
    before = uids(demo)
    with load(address, NAME) as sent:
        revise(demo, "missing")
        eventually(lambda: condition(demo, NAME, "Ready").get("reason") == "ModelPullFailed", "the cause", 120)
        assert f"{MODEL}:missing can't be pulled" in condition(demo, NAME, "Ready")["message"]
        assert condition(demo, NAME, "Available")["status"] == "True"
        assert before < uids(demo)
        revise(demo, "v1")
        settle(demo)
    assert not sent.failures
    assert uids(demo) == before


def test_an_eviction_takes_one_pod_at_a_time_and_cuts_no_stream(demo: Spec, address: str) -> None:
    first, second = serving_pods(demo, NAME)
    texts = stream(address, NAME, 120)
    begun = [next(texts)]
    if not in_flight(first):
        first, second = second, first
    assert in_flight(first)
    with load(address, NAME) as sent:
        evict(demo, first)
        with pytest.raises(Failure, match="violate the pod's disruption budget"):
            evict(demo, second)
        assert first["metadata"]["uid"] not in uids(demo)
        rest = list(texts)
        settle(demo)
    assert len(rest) > 20, begun + rest
    assert not sent.failures
    assert second["metadata"]["uid"] in uids(demo)


def evict(spec: Spec, pod: dict[str, Any]) -> None:
    """Ask for an eviction, as `kubectl drain` does."""
    metadata = {"name": pod["metadata"]["name"], "namespace": NAMESPACE}
    body = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{metadata['name']}/eviction"
    kubectl(spec, "create", f"--raw={path}", "--filename=-", stdin=body)


def in_flight(pod: dict[str, Any]) -> bool:
    lines = ask(f"{pod['status']['podIP']}:8000", "/metrics").splitlines()
    return "springtide_requests_in_flight 1.0" in lines


@pytest.fixture
def newer(demo: Spec, tmp_path: Path) -> Iterator[Image]:
    """An operator that gives pods one more variable; the usual one is back at the end."""
    source = tmp_path / "springtide"
    shutil.copytree(catalog.ROOT / "operator" / "springtide", source, ignore=shutil.ignore_patterns("__pycache__"))
    changed = source / "manifests" / "pods.py"
    known = '"MODEL_NAME": service,'
    assert changed.read_text().count(known) == 1
    changed.write_text(changed.read_text().replace(known, f'{known} "NEWER": "true",'))
    image = catalog.operator(f"{catalog.OPERATOR}-newer", source)
    for each in demo.node_list:
        node.load_image(each, image.archive)
    yield image
    install.operator(demo)


def test_another_operator_changes_no_pod_until_someone_asks_for_it(demo: Spec, address: str, newer: Image) -> None:
    names = [f"{NAME}-cpu", "chat-cpu", "embed-cpu"]
    templates, before = {name: template(demo, name) for name in names}, uids(demo)
    others = {pod["metadata"]["uid"] for name in ("chat", "embed") for pod in serving_pods(demo, name)}
    with load(address, NAME) as sent:
        install.operator(demo, newer)
        # what is no matter of pods is acted on, by the new operator, and touches none
        edit_surge(demo, 2)
        eventually(functools.partial(surge_is, demo, 2), "the edit to be acted on", 60)
        settle(demo)
        assert {name: template(demo, name) for name in names} == templates
        assert uids(demo) == before

        kubectl(demo, "annotate", f"msvc/{NAME}", f"--namespace={NAMESPACE}", "springtide.dev/restartedAt=now")
        eventually(lambda: not before & uids(demo) and is_settled(demo, NAME, 2), "new pods", ROLLOUT_SECONDS)
        assert {"name": "NEWER", "value": "true"} in template(demo)["spec"]["containers"][0]["env"]

        after, restarted = template(demo), uids(demo)
        install.operator(demo)
        edit_surge(demo, 1)
        eventually(functools.partial(surge_is, demo, 1), "the edit to be acted on", 60)
        settle(demo)
        assert template(demo) == after
        assert uids(demo) == restarted
    assert not sent.failures
    assert {pod["metadata"]["uid"] for name in ("chat", "embed") for pod in serving_pods(demo, name)} == others


def edit_surge(spec: Spec, surge: int) -> None:
    pool = POOL | {"replicas": {"min": 2, "max": 5}, "update": {"maxSurge": surge}}
    patch = json.dumps({"spec": {"pools": [pool]}})
    kubectl(spec, "patch", f"msvc/{NAME}", f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")


def surge_is(spec: Spec, wanted: int) -> bool:
    return bool(get(spec, "deployment", f"{NAME}-cpu")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == wanted)
