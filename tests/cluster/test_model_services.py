"""ModelServices on real nodes with real models, in the cluster that `make demo` makes."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import fault
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.demo.install import SYSTEM
from hack.shell import Failure

from .support import (
    NAMESPACE,
    POOL,
    apply,
    ask,
    chat,
    condition,
    delete,
    eventually,
    get,
    scale,
    serves,
    service_address,
    serving_pods,
)


def tokens_served(pod: dict[str, Any]) -> float:
    """Return how many tokens a pod has generated, by its own counter."""
    lines = ask(f"{pod['status']['podIP']}:8000", "/metrics").splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("springtide_generation_tokens_total"))


pytestmark = pytest.mark.usefixtures("examples")


def test_columns_read_well(demo: Spec) -> None:
    table = kubectl(demo, "get", "msvc", f"--namespace={NAMESPACE}").splitlines()
    assert table[0].split() == ["NAME", "READY", "REPLICAS", "TARGET", "URL", "AGE"]
    assert table[1].split()[:5] == ["chat", "True", "1", "1", f"http://chat.{NAMESPACE}.svc"]


def test_a_chat_streams_through_the_service(demo: Spec) -> None:
    address = service_address(demo, "chat")
    whole = json.loads(chat(address, "What is the capital of France?"))["choices"][0]["message"]["content"]
    assert "Paris" in whole
    events = chat(address, "What is the capital of France?", stream=True).split("\n\n")
    assert events[-2] == "data: [DONE]"
    parts = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    text = "".join(part["choices"][0]["delta"].get("content") or "" for part in parts if part["choices"])
    assert text == whole
    assert len(parts) > 3, "tokens come one by one"


def test_two_replicas_stand_on_two_nodes_and_both_answer_through_the_service(demo: Spec) -> None:
    scale(demo, "chat", 2)
    eventually(lambda: get(demo, "msvc", "chat")["status"].get("readyReplicas") == 2, "two ready replicas", 120)
    pods = serving_pods(demo, "chat")
    assert {pod["spec"]["nodeName"] for pod in pods} == {node.name for node in demo.node_list}
    before = [tokens_served(pod) for pod in pods]
    for _ in range(12):
        chat(service_address(demo, "chat"), "Count to three.", max_tokens=3)
    after = [tokens_served(pod) for pod in pods]
    assert all(late > early for early, late in zip(before, after, strict=True)), (before, after)
    assert condition(demo, "chat", "Ready")["status"] == "True"
    scale(demo, "chat", 1)
    eventually(lambda: len(serving_pods(demo, "chat")) == 1, "one replica", 60)


def test_the_cgroup_has_the_limits_of_the_spec(demo: Spec) -> None:
    def read(file: str) -> str:
        words = ("exec", "deployment/chat-cpu", f"--namespace={NAMESPACE}", "--", "cat", f"/sys/fs/cgroup/{file}")
        return kubectl(demo, *words).strip()

    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert read("memory.max") == str(2 << 30)
        assert read("cpu.max") == "100000 100000"
    else:
        assert read("memory/memory.limit_in_bytes") == str(2 << 30)
        assert read("cpu/cpu.shares") == "512"
        assert read("cpu/cpu.cfs_quota_us") == read("cpu/cpu.cfs_period_us")


def test_a_spec_beyond_its_own_maximum_is_refused_by_name(demo: Spec) -> None:
    with pytest.raises(Failure, match=r"spec\.pools\[0\]\.replicas\.max"):
        scale(demo, "chat", 9)


def test_a_kubelet_that_cannot_bring_an_image_shows_in_a_condition(demo: Spec) -> None:
    missing = "models.springtide.dev/no-such-model:v1"
    apply(demo, "no-model", model={"uri": f"oci://{missing}"})
    apply(demo, "no-image", runtime={"name": "ModelServer", "image": "springtide.local/no-such-server:v1"})
    try:
        for name, reason, culprit in (
            ("no-model", "ModelPullFailed", missing),
            ("no-image", "ImagePullFailed", "springtide.local/no-such-server:v1"),
        ):

            def reported(name: str = name) -> bool:
                states = [pod["status"].get("containerStatuses", [{}])[0] for pod in serving_pods(demo, name)]
                return any("ImagePull" in s.get("state", {}).get("waiting", {}).get("reason", "") for s in states)

            eventually(reported, f"the kubelet to report that {culprit} is missing", 90)

            def shown(name: str = name, reason: str = reason) -> bool:
                return condition(demo, name, "Ready").get("reason") == reason

            eventually(shown, f"{reason} in Ready", 10)
            assert culprit in condition(demo, name, "Available")["message"]
            assert condition(demo, name, "Ready")["status"] == "False"
    finally:
        delete(demo, "no-model")
        delete(demo, "no-image")


def test_a_server_that_crashes_says_why_in_a_condition(demo: Spec) -> None:
    apply(demo, "crash", runtime={"name": "ModelServer", "args": ["--no-such-flag"]})
    try:
        eventually(lambda: "--no-such-flag" in condition(demo, "crash", "Ready").get("message", ""), "the cause", 90)
    finally:
        delete(demo, "crash")


def test_a_pod_that_fits_nowhere_says_what_is_missing(demo: Spec) -> None:
    huge = {**POOL, "resources": {"requests": {"memory": "900Gi"}}}
    apply(demo, "huge", pools=[huge])
    try:
        eventually(lambda: condition(demo, "huge", "Ready").get("reason") == "Unschedulable", "Unschedulable", 30)
        assert "Insufficient memory" in condition(demo, "huge", "Ready")["message"]
    finally:
        delete(demo, "huge")


def test_delete_leaves_nothing(demo: Spec) -> None:
    apply(demo, "gone")
    eventually(lambda: len(serving_pods(demo, "gone")) == 1, "its pod", 30)
    delete(demo, "gone")

    def left() -> str:
        kinds = "modelservices,deployments,replicasets,services,pods,endpointslices"
        return kubectl(demo, "get", kinds, f"--namespace={NAMESPACE}", "-l=springtide.dev/service=gone", "-o=name")

    eventually(lambda: left() == "", "all objects to go", 60)


def test_requests_in_flight_survive_the_end_of_their_pod(demo: Spec) -> None:
    apply(demo, "drain")
    try:
        eventually(lambda: condition(demo, "drain", "Ready").get("status") == "True", "it to be Ready", 120)
        address = service_address(demo, "drain")
        # the operator asked through its own node's rules; those of the node that the host goes through may be later
        eventually(lambda: serves(address), "the Service to answer the host", 20)
        pod = serving_pods(demo, "drain")[0]["metadata"]["name"]
        body = {"model": "drain", "messages": [{"role": "user", "content": "Tell me a story."}], "max_tokens": 60}
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(ask(address, "/v1/chat/completions", body)))
        asking.start()
        time.sleep(0.5)
        kubectl(demo, "delete", "pod", pod, f"--namespace={NAMESPACE}", "--wait=false")
        asking.join()
        assert json.loads(answers[0])["usage"]["completion_tokens"] > 0
    finally:
        delete(demo, "drain")


def test_a_replica_that_is_cut_off_is_not_available_long_before_its_node_is_given_up(demo: Spec) -> None:
    operator = get(demo, "pods", labels="app.kubernetes.io/name=springtide-operator", namespace=SYSTEM)[0]["spec"][
        "nodeName"
    ]
    other = next(node.name for node in demo.node_list if node.name != operator)
    apply(demo, "cut", pools=[{**POOL, "nodeSelector": {"kubernetes.io/hostname": other}}])
    try:
        eventually(lambda: condition(demo, "cut", "Available").get("status") == "True", "it to be Available", 120)
        fault.inject(demo, "blackhole", other, 60)
        eventually(
            lambda: condition(demo, "cut", "Available")["reason"] == "RouteNotAnswering", "the operator to see", 50
        )
        fault.clear(demo)
        eventually(lambda: condition(demo, "cut", "Available")["status"] == "True", "it to be Available again", 60)
    finally:
        fault.clear(demo)
        delete(demo, "cut")


def test_the_operators_log_has_records_and_no_traceback(demo: Spec) -> None:
    lines = kubectl(demo, "logs", "deployment/springtide-operator", f"--namespace={SYSTEM}").splitlines()
    assert all(json.loads(line)["level"] for line in lines)
    assert "Traceback" not in "".join(lines)
