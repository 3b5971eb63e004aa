"""hack/cluster against itself: what a real cluster must do, and what each fault breaks."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.cluster import fault, lifecycle, process
from hack.cluster.__main__ import main
from hack.cluster.control_plane import IP_FREEBIND, check, kubectl
from hack.cluster.spec import STATE, Spec, clusters
from hack.images import catalog
from hack.shell import Failure, run, succeeds

from .support import eventually

SERVER = """
import http.server, os, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(socket.gethostname().encode())
    def log_message(self, *words):
        print("request", self.client_address[0], flush=True)
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET
Server(("0.0.0.0", 8080), Handler).serve_forever()
"""
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"
LIMITS = {"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}}


def echo(spec: Spec) -> None:
    """Run one echo server on each real node, behind a Service."""
    labels = {"app": "echo"}
    security = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "echo",
        "image": catalog.PYTHON,
        "imagePullPolicy": "Never",
        "args": ["-c", SERVER],
        "resources": LIMITS,
        "securityContext": security,
    }
    pod = {"containers": [container], "terminationGracePeriodSeconds": 0}
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule",
        "nodeTaintsPolicy": "Honor",
        "labelSelector": {"matchLabels": labels},
    }
    template = {"metadata": {"labels": labels}, "spec": {**pod, "topologySpreadConstraints": [spread]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "echo"},
        "spec": {"replicas": spec.nodes, "selector": {"matchLabels": labels}, "template": template},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "echo"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    kubectl(
        spec, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [deployment, service]})
    )
    kubectl(spec, "rollout", "status", "deployment/echo", "--timeout=60s", "--request-timeout=70s")


@pytest.fixture(scope="module")
def a(make_cluster: Callable[[Spec], Spec]) -> Spec:
    spec = make_cluster(Spec("test-a", nodes=2, fake_nodes=3, fake_gpus=8))
    assert main(["load-image", "--name", spec.name, str(catalog.python().archive)]) == 0
    echo(spec)
    return spec


@pytest.fixture(scope="module")
def b(make_cluster: Callable[[Spec], Spec]) -> Spec:
    spec = make_cluster(Spec("test-b", nodes=1))
    assert main(["load-image", "--name", spec.name, str(catalog.python().archive)]) == 0
    echo(spec)
    return spec


@pytest.fixture(autouse=True)
def no_fault_left() -> Iterator[None]:
    yield
    for spec in clusters():
        if spec.name.startswith("test-"):
            fault.clear(spec)


def pods(spec: Spec) -> dict[str, tuple[str, str]]:
    """Return {pod: (node, address)} of the echo servers that aren't going away."""
    items = json.loads(kubectl(spec, "get", "pods", "-l=app=echo", "-o=json"))["items"]
    return {
        item["metadata"]["name"]: (item["spec"]["nodeName"], item["status"].get("podIP", ""))
        for item in items
        if "deletionTimestamp" not in item["metadata"]
    }


def on_node(spec: Spec, number: int) -> tuple[str, str]:
    """Return (pod, address) of the echo server on a node."""
    wanted = f"{spec.name}-node-{number}"
    return next((pod, address) for pod, (node, address) in pods(spec).items() if node == wanted)


def fetch_from(spec: Spec, pod: str, url: str) -> str:
    return kubectl(spec, "exec", pod, "--", "python3", "-c", FETCH, url).strip()


def fetch(url: str, seconds: float = 2) -> str:
    done = subprocess.run(
        ["python3", "-c", FETCH.replace("timeout=5", f"timeout={seconds}"), url], capture_output=True, text=True
    )
    return done.stdout.strip()


def test_versions_are_stamped(a: Spec) -> None:
    version = json.loads(kubectl(a, "version", "-o=json"))
    assert version["clientVersion"]["gitVersion"] == version["serverVersion"]["gitVersion"]
    assert version["serverVersion"]["gitVersion"].startswith("v1.37.")


def test_pods_reach_each_other_across_nodes(a: Spec) -> None:
    (one, one_address), (two, two_address) = on_node(a, 1), on_node(a, 2)
    assert fetch_from(a, one, f"http://{two_address}:8080") == two
    assert fetch_from(a, two, f"http://{one_address}:8080") == one


def test_service_balances_over_both_nodes_by_name_and_by_address(a: Spec) -> None:
    one, _ = on_node(a, 1)
    address = kubectl(a, "get", "service", "echo", "-o=jsonpath={.spec.clusterIP}")
    assert both_answer(a, lambda: fetch_from(a, one, "http://echo.default.svc.cluster.local")), "by name, from a pod"
    assert both_answer(a, lambda: fetch(f"http://{address}")), "by address, from the host"


def both_answer(spec: Spec, ask: Callable[[], str]) -> bool:
    """Ask until every echo server has answered; forty times without one of two is no bad luck."""
    left = set(pods(spec))
    for _ in range(40):
        left.discard(ask())
        if not left:
            return True
    return False


def test_logs_are_read_through_the_api_server(a: Spec) -> None:
    pod, address = on_node(a, 2)
    fetch(f"http://{address}:8080")
    assert "request" in kubectl(a, "logs", pod)


def test_cgroup_limits_are_seen_from_inside(a: Spec) -> None:
    pod, _ = on_node(a, 1)
    if Path("/sys/fs/cgroup/cgroup.controllers").exists():
        assert kubectl(a, "exec", pod, "--", "cat", "/sys/fs/cgroup/memory.max").strip() == str(128 << 20)
        return
    for file, value in ("memory/memory.limit_in_bytes", 128 << 20), ("cpu/cpu.shares", 512):
        assert kubectl(a, "exec", pod, "--", "cat", f"/sys/fs/cgroup/{file}").strip() == str(value)


def test_fake_nodes_have_gpus_and_keep_pods_off(a: Spec) -> None:
    nodes = json.loads(kubectl(a, "get", "nodes", "-l=type=kwok", "-o=json"))["items"]
    assert len(nodes) == 3
    for item in nodes:
        assert item["status"]["allocatable"]["nvidia.com/gpu"] == "8"
        assert {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"} in item["spec"]["taints"]
    assert {node for node, _ in pods(a).values()} == {"test-a-node-1", "test-a-node-2"}


def test_requests_are_audited(a: Spec) -> None:
    kubectl(a, "get", "configmap", "kube-root-ca.crt")
    assert '"name":"kube-root-ca.crt"' in (a.logs / "audit.log").read_text()


def test_gang_scheduling_api_is_served(a: Spec) -> None:
    assert "podgroups.scheduling.k8s.io" in kubectl(a, "api-resources", "-o=name", "--api-group=scheduling.k8s.io")


def test_no_packet_for_an_address_that_is_gone_leaves_this_machine(a: Spec) -> None:
    """Follow the routes from a pod of a node, through the host, for addresses that nobody has."""
    node = a.node_list[0]
    gone = [Spec("gone", slot=9), a]
    addresses = [str(network[-3]) for s in gone for network in (s.node_range, s.pod_range, s.service_range)]
    for address in [*addresses, "203.0.113.1"]:
        inside = ("ip", "-netns", node.namespace, "-json", "route", "get", address, "from", str(node.address))
        hop = json.loads(run(*inside))[0] if succeeds(*inside) else {"dev": "nowhere"}
        if hop["dev"] in ("nowhere", "lo"):
            continue
        assert hop.get("gateway", "10.200.0.").startswith("10.200."), hop
        outside = ("ip", "-json", "route", "get", address, "from", str(node.address), "iif", a.bridge)
        onward = json.loads(run(*outside))[0] if succeeds(*outside) else {"dev": "nowhere"}
        assert onward["dev"] in ("nowhere", a.bridge), (address, onward)


def test_clusters_live_side_by_side_and_a_frozen_node_of_one_leaves_the_other_alone(a: Spec, b: Spec) -> None:
    (_, frozen), (_, healthy), (_, other) = on_node(a, 2), on_node(a, 1), on_node(b, 1)
    fault.inject(a, "freeze", "test-a-node-2", 8)
    assert fetch(f"http://{frozen}:8080") == ""
    assert fetch(f"http://{healthy}:8080") != ""
    assert fetch(f"http://{other}:8080") != ""
    eventually(lambda: not fault.active(a), "the fault to end by itself", 20)
    eventually(lambda: fetch(f"http://{frozen}:8080") != "", "the node to answer again", 20)


def test_killed_node_is_noticed_and_comes_back(a: Spec) -> None:
    fault.inject(a, "kill", "test-a-node-2", 2)
    assert fetch(f"http://{a.node('test-a-node-2').address}:10250") == ""
    eventually(lambda: not fault.active(a), "the fault to end by itself", 30)
    kubectl(a, "wait", "--for=condition=Ready", "node/test-a-node-2", "--timeout=60s", "--request-timeout=70s")
    eventually(lambda: fetch(f"http://{on_node(a, 2)[1]}:8080") != "", "the pod to be restarted", 60)


def test_black_holed_link_swallows_packets_without_an_answer(a: Spec) -> None:
    _, address = on_node(a, 2)
    fault.inject(a, "blackhole", "test-a-node-2", 4)
    started = time.monotonic()
    assert fetch(f"http://{address}:8080", 1) == ""
    assert time.monotonic() - started >= 1, "refused instead of swallowed"
    eventually(lambda: fetch(f"http://{address}:8080") != "", "the link to be back", 20)


def test_clusters_are_cut_off_from_each_other_and_joined_again(a: Spec, b: Spec) -> None:
    (pod, _), (_, other) = on_node(a, 1), on_node(b, 1)
    assert fetch_from(a, pod, f"http://{other}:8080")
    fault.inject(a, "blackhole", "test-b", 60)
    with pytest.raises(Failure, match="timed out"):
        fetch_from(a, pod, f"http://{other}:8080")
    assert fetch(f"http://{other}:8080"), "from the host it is still reached"
    with pytest.raises(Failure, match="timed out"):
        fetch_from(a, pod, f"http://{b.host_address}:6443")
    fault.clear(a)
    assert fetch_from(a, pod, f"http://{other}:8080")
    with pytest.raises(Failure, match="400"):
        fetch_from(a, pod, f"http://{b.host_address}:6443")


def test_delayed_link_is_slow_by_twice_the_delay_and_loses_nothing(a: Spec) -> None:
    _, address = on_node(a, 2)
    fault.inject(a, "delay", "test-a-node-2", 30, milliseconds=150)
    started = time.monotonic()
    assert fetch(f"http://{address}:8080", 5) != ""
    assert time.monotonic() - started >= 0.6, "a connection and a request are two round trips"
    fault.clear(a)
    assert fetch(f"http://{address}:8080") != ""


@pytest.mark.parametrize("kind", ["kill", "stop", "freeze"])
def test_api_server_goes_away_and_comes_back_while_pods_serve(a: Spec, kind: str) -> None:
    _, address = on_node(a, 1)
    fault.inject(a, kind, "kube-apiserver", 2)
    with pytest.raises(Failure):
        run("curl", "--silent", "--insecure", "--max-time", "1", f"{a.server}/readyz")
    assert fetch(f"http://{address}:8080") != ""
    eventually(lambda: not fault.active(a), "the fault to end by itself", 60)
    eventually(lambda: kubectl_works(a), "the API server to be back", 60)


def kubectl_works(spec: Spec) -> bool:
    try:
        return "test-" in kubectl(spec, "get", "nodes", "-o=name")
    except Failure:
        return False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fault", "--name", "test-a", "freeze", "nobody"], "the targets in cluster test-a are test-a-node-1"),
        (["fault", "--name", "test-a", "delay", "test-a-node-1"], "--milliseconds 0: between 1 and"),
        (["fault", "--name", "test-a", "stop"], "name its target"),
        (["load-image", "--name", "test-a", "/nowhere.tar"], "/nowhere.tar: no such file"),
        (["load-image", "--name", "test-a", "pyproject.toml"], "is it an OCI archive?"),
        (["up", "--name", "Upper"], "--name Upper"),
        (["up", "--name", "test-a", "--nodes", "1"], "exists with another shape"),
        (["up", "--name", "test-c", "--nodes", "99"], "--nodes 99"),
        (["up", "--name", "test-c-with-16-c", "--nodes", "1"], "15 characters"),
        (["logs", "--name", "test-a", "nothing"], "the components are"),
        (["down", "--name", "absent"], "cluster absent does not exist"),
    ],
)
def test_bad_input_gets_a_clear_error(
    a: Spec, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_a_port_that_is_taken_is_named() -> None:
    spec = Spec("test-ports", slot=15)
    for address in ("127.0.0.1", spec.port(79)), (str(spec.host_address), 6443):
        with socket.socket() as other:
            other.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
            other.bind(address)
            other.listen()
            with pytest.raises(Failure, match=f"port {address[1]} is taken"):
                check(spec)
        check(spec)


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["up", "--name", "test-nobody"]) == 1
    assert "run this as root" in capsys.readouterr().err


def test_a_full_disk_is_told_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lifecycle, "FREE_BYTES", 1 << 60)
    assert main(["up", "--name", "test-full"]) == 1
    assert "make room on this disk" in capsys.readouterr().err
    assert not (STATE / "test-full").exists()


def test_up_again_leaves_a_running_cluster_as_it_is(a: Spec) -> None:
    before = pods(a)
    assert lifecycle.up(Spec("test-a", nodes=2, fake_nodes=3, fake_gpus=8)) == a
    assert pods(a) == before


def test_nothing_survives_down_even_after_a_run_that_was_killed(make_cluster: Callable[[Spec], Spec]) -> None:
    run_up = ["python3", "-m", "hack.cluster", "up", "--name", "test-gone", "--nodes", "1"]
    with subprocess.Popen(run_up, stderr=subprocess.DEVNULL) as half:
        kubelet = STATE / "test-gone" / "run" / "kubelet@test-gone-node-1.json"
        eventually(kubelet.exists, "the kubelet to be started", 60)
        half.kill()
    spec = lifecycle.up(Spec("test-gone", nodes=1))
    kubectl(spec, "get", "nodes")
    numbers = {process.pid(spec, name) for name in process.names(spec)}
    lifecycle.down(spec)
    assert not spec.home.exists()
    assert not any(number and Path(f"/proc/{number}").exists() for number in numbers)
    assert not Path("/run/netns", spec.node_list[0].namespace).exists()
    assert spec.bridge not in run("ip", "route")
    assert clusters() or "blackhole" not in run("ip", "route")
    assert "test-gone" not in Path("/proc/self/mounts").read_text()
    assert not list(Path("/sys/fs/cgroup").glob("**/test-gone*"))
