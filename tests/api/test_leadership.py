"""Several operators at a real API server: one works, and another takes over when it ends, dies, hangs or is cut off.

The tests build on one another: each begins with the leader that the one before left.
"""

import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.api.support import (
    DEPLOYMENTS,
    MODEL_SERVICES,
    Api,
    Operator,
    eventually,
    operator_kubeconfig,
    started_operator,
)

LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
LEASE = f"{LEASES}/springtide-operator"


class Proxy:
    """A TCP proxy before the API server that can be cut: what is connected hangs, and nobody gets through."""

    def __init__(self, kubeconfig: Path, target: Path) -> None:
        written = yaml.safe_load(kubeconfig.read_text())
        cluster = written["clusters"][0]["cluster"]
        server = urlsplit(cluster["server"])
        self._behind = (server.hostname, server.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open = threading.Event()
        self._open.set()
        cluster["server"] = f"https://127.0.0.1:{self._listening.getsockname()[1]}"
        target.write_text(yaml.safe_dump(written))
        self.kubeconfig = target
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._open.clear()

    def mend(self) -> None:
        self._open.set()

    def close(self) -> None:
        self._listening.close()
        self.mend()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._behind)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def limited(api: Api, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_kubeconfig(kubeconfig, api, tmp_path_factory.mktemp("account") / "kubeconfig")


class Fleet:
    """Operators that take part in the same election."""

    def __init__(self, api: Api, kubeconfig: Path, folder: Path, stack: ExitStack) -> None:
        self.api = api
        self.running: dict[str, Operator] = {}
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._stack = stack

    def start(self, name: str, kubeconfig: Path | None = None) -> Operator:
        arguments = ("--leader-election-namespace", self.api.namespace, "--identity", name)
        starting = started_operator(
            kubeconfig or self._kubeconfig, self.api.namespace, self._folder / f"{name}.log", *arguments
        )
        self.running[name] = self._stack.enter_context(starting)
        return self.running[name]

    def leader(self) -> str:
        return str(self.api.call("GET", LEASE)["spec"].get("holderIdentity") or "")

    def led_by(self, name: str, seconds: float) -> float:
        """Wait until an operator leads and works; return for how long that took."""
        started = time.monotonic()
        eventually(lambda: self.leader() == name, seconds)
        eventually(self.running[name].watching)
        return time.monotonic() - started

    def works(self, service: str) -> None:
        """See that a change is acted on."""
        self.api.create(service)
        eventually(lambda: self.api.condition(service, "Accepted"))


@pytest.fixture(scope="module")
def fleet(api: Api, limited: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with ExitStack() as stack:
        yield Fleet(api, limited, tmp_path_factory.mktemp("fleet"), stack)


def answer(operator: Operator, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{operator.port()}{path}", timeout=5) as response:
        return str(response.read().decode())


def standing_by(operator: Operator) -> bool:
    return any(record["message"].startswith("standing by") for record in operator.records())


@contextmanager
def frozen(operator: Operator) -> Iterator[None]:
    operator.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        operator.process.send_signal(signal.SIGCONT)


def errors(operator: Operator) -> list[Any]:
    return [record["message"] for record in operator.records() if record["level"] == "error"]


def test_one_works_and_the_other_stands_by(fleet: Fleet) -> None:
    first = fleet.start("first")
    fleet.led_by("first", 30)
    second = fleet.start("second")
    eventually(lambda: standing_by(second), 30)
    fleet.works("chat")
    assert (answer(first, "/healthz"), answer(first, "/readyz")) == ("ok", "ok")
    assert (answer(second, "/healthz"), answer(second, "/readyz")) == ("standing by", "standing by")
    master = ("leader_election_master_status", frozenset({("name", "springtide-operator")}))
    assert (first.metrics()[master], second.metrics()[master]) == (1, 0)
    asked = {dict(labels)["kind"] for name, labels in second.metrics() if name == "springtide_api_requests_total"}
    assert asked == {"Lease"}, "a standby reads nothing else"


def test_a_leader_that_is_told_to_end_hands_over_at_once(fleet: Fleet) -> None:
    first, second = fleet.running["first"], fleet.running["second"]
    eventually(lambda: unchanged_for_a_second(fleet.api))
    versions = fleet.api.versions()
    first.process.send_signal(signal.SIGTERM)
    assert fleet.led_by("second", 6) < 8
    assert first.process.wait(15) == 0
    assert not errors(first)
    time.sleep(1)
    assert fleet.api.versions() == versions, "a new leader writes nothing that is there"
    fleet.works("after-sigterm")
    assert answer(second, "/readyz") == "ok"
    spec = fleet.api.call("GET", LEASE)["spec"]
    assert spec["leaseTransitions"] == 1


def test_a_frozen_leader_writes_nothing_when_it_wakes(fleet: Fleet) -> None:
    second, third = fleet.running["second"], fleet.start("third")
    eventually(lambda: standing_by(third), 30)
    with frozen(second):
        # It sleeps with work to do: the watch has told it, or will when it wakes.
        for number in range(5):
            fleet.api.create(f"late-{number}")
        fleet.led_by("third", 25)
        fleet.works("after-freeze")
        eventually(lambda: all(fleet.api.condition(f"late-{number}", "Accepted") for number in range(5)))
        # Seen and put right by the one that leads; the one that sleeps would put back what it last saw.
        for number in range(5):
            fleet.api.edit(f"late-{number}", {"replicas": 3})
        eventually(
            lambda: all(
                fleet.api.get(DEPLOYMENTS, f"late-{number}-cpu")["spec"]["replicas"] == 3 for number in range(5)
            )
        )
        eventually(lambda: unchanged_for_a_second(fleet.api))
        versions, applies = fleet.api.versions(), fleet.api.applies()
    assert second.process.wait(30) == 1
    assert "leadership is lost" in errors(second)[0]
    assert fleet.api.versions() == versions
    assert fleet.api.applies() == applies, "not even a write that changes nothing"
    assert fleet.leader() == "third"


def unchanged_for_a_second(api: Api) -> bool:
    before = api.versions(), api.applies()
    time.sleep(1)
    return (api.versions(), api.applies()) == before


def test_a_killed_leader_is_replaced_when_its_lease_runs_out(fleet: Fleet, limited: Path, tmp_path: Path) -> None:
    third, proxy = fleet.running["third"], Proxy(limited, tmp_path / "proxied")
    fourth = fleet.start("fourth", proxy.kubeconfig)
    eventually(lambda: standing_by(fourth), 30)
    third.process.kill()
    assert fleet.led_by("fourth", 25) > 10, "not before the lease runs out"
    fleet.works("after-kill")

    # Then the new leader alone is cut off. No one else is there; it must stop by itself.
    proxy.cut()
    began = time.monotonic()
    try:
        eventually(lambda: errors(fourth), 14)
        assert time.monotonic() - began < 12, "before the lease of 15 s can be taken"
        assert "leadership is lost: the lease was not renewed within 10 s" in errors(fourth)[0]
        fleet.api.create("unseen")
        assert fourth.process.wait(25) == 1
    finally:
        proxy.mend()
        proxy.close()
    assert fleet.api.status("unseen") == {"observedGeneration": -1}
    # A pod that starts again under the same name takes its own lease back at once.
    fleet.start("fourth")
    assert fleet.led_by("fourth", 10) < 10
    eventually(lambda: fleet.api.status("unseen"))
    assert fleet.api.list(MODEL_SERVICES)
