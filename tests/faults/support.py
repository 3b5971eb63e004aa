"""An operator behind a fault proxy, in a namespace of its own, and what its end state is compared by."""

import ctypes
import json
import multiprocessing
import os
import re
import signal
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from springtide.clients.cluster import CHILDREN, MODEL_SERVICE, Kind
from tests.api.support import Api, eventually, new_namespace, operator_kubeconfig, remove_namespace
from tests.faults.calls import Kill
from tests.faults.certificate import Certificate
from tests.faults.proxy import Proxy

KINDS = (MODEL_SERVICE, *CHILDREN)
_POD_SUFFIX = re.compile(r"-[a-z0-9]{6,10}-[a-z0-9]{5}\b")
# Imports what the operator imports once, and forks from that: a start takes a tenth of the CPU time.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["springtide.cli.operator", "kubernetes.config", "tests.faults.support"])


def run_operator(arguments: Sequence[str], kubeconfig: str, log: str, clock_hours: float) -> None:
    """Be the operator, in a process of its own, with a wall clock that is wrong by some hours."""
    from kubernetes import config
    from kubernetes.aio import config as aio_config

    from springtide.cli.operator import main
    from springtide.controllers import run

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: end with the tests, however these end
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.environ["KUBECONFIG"] = kubeconfig
    modules: tuple[Any, ...] = (config.kube_config, aio_config.kube_config)
    for module in modules:
        module.KUBE_CONFIG_DEFAULT_LOCATION = kubeconfig  # was read when the module was imported
    wrong = timedelta(hours=clock_hours)
    run._now = lambda: (datetime.now(UTC) + wrong).strftime("%Y-%m-%dT%H:%M:%SZ")
    sys.exit(main(arguments))


class Rig:
    """A namespace, a proxy, and an operator that reaches the API server through it only. `api` is the direct way."""

    def __init__(self, kubeconfig: Path, certificate: Certificate, name: str, folder: Path, *arguments: str) -> None:
        self._folder = folder / name
        self._folder.mkdir()
        self.api = new_namespace(kubeconfig, f"faults-{name}")
        self.kubeconfig = operator_kubeconfig(kubeconfig, self.api, self._folder / "kubeconfig")
        written = yaml.safe_load(self.kubeconfig.read_text())
        cluster = written["clusters"][0]["cluster"]
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        upstream = ssl.create_default_context(cadata=authority)
        self.proxy = Proxy(cluster["server"], upstream, certificate.context)
        cluster["server"] = self.proxy.url
        cluster["certificate-authority-data"] = certificate.authority
        self.kubeconfig.write_text(yaml.safe_dump(written))
        self._arguments = ["--namespace", self.api.namespace, "--health-port", "0", *arguments]
        self._arguments += ["--model-server-image", "springtide/model-server:test"]
        self.starts: list[tuple[float, Path, Any]] = []
        self.ends: list[tuple[float, int]] = []
        self.clock_hours = 0.0
        self._closing = threading.Event()

    def start(self) -> None:
        """Start the operator and wait until it watches."""
        self.launch()
        eventually(lambda: self.watching() or not self.running, 60)
        assert self.running, self.records()[-3:]

    def launch(self) -> None:
        """Start the operator."""
        log = self._folder / f"log-{len(self.starts)}"
        log.touch()
        process = _processes.Process(
            target=run_operator,
            args=(self._arguments, str(self.kubeconfig), str(log), self.clock_hours),
            daemon=True,
        )
        process.start()
        self.starts.append((time.monotonic(), log, process))

    def keep_running(self, wait: float = 5.0) -> None:
        """Start it again, a while after it ended, whenever it ends; a kubelet waits 10 s at first."""

        def keep() -> None:
            while not self._closing.wait(0.1):
                process = self.starts[-1][2]
                if not process.is_alive() and len(self.ends) < len(self.starts):
                    self.ends.append((time.monotonic(), process.exitcode))
                    if not self._closing.wait(wait):
                        self.launch()

        self._keeper = threading.Thread(target=keep, daemon=True)
        self._keeper.start()

    @property
    def running(self) -> bool:
        return bool(self.starts) and self.starts[-1][2].is_alive()

    @property
    def pid(self) -> int:
        return int(self.starts[-1][2].pid)

    def kill_after(self, write: int, *, answered: bool) -> None:
        """Have the operator killed with its n-th write from the start of the proxy on."""
        self.proxy.kill = Kill(write, answered, lambda: self.pid)

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        process = self.starts[-1][2]
        os.kill(process.pid, signal.SIGTERM)
        process.join(25)
        return int(process.exitcode)

    def close(self) -> None:
        """End everything; once is enough."""
        if self._closing.is_set():
            return
        self._closing.set()
        if hasattr(self, "_keeper"):
            self._keeper.join()
        for _, _, process in self.starts:
            if process.is_alive():
                process.kill()
        self.proxy.close()
        remove_namespace(self.api)

    def records(self) -> list[dict[str, Any]]:
        """Return the log of the last start. A process that was killed may leave half a line."""
        whole = self.starts[-1][1].read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def watching(self) -> bool:
        return any(record["message"].startswith("watching") for record in self.records())

    def health(self, path: str) -> tuple[int, str]:
        """Ask /healthz or /readyz; status 0 when nothing answers."""
        ports = [record["port"] for record in self.records() if "port" in record]
        if not ports:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}/{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def settled(self, *names: str) -> bool:
        """Whether the newest generations were acted on and the status tells what is there."""
        live = self.api.list(MODEL_SERVICE.path("{namespace}"))
        return set(names) <= live.keys() and all(_settled(one) for one in live.values())

    def trace(self) -> str:
        """Return the times of its starts and ends and its last records, to see what happened."""
        last = [f"{record['level']} {record['message'][:160]}" for record in self.records()[-8:]]
        return "\n".join([f"starts {[round(at) for at, _, _ in self.starts]}, ends {self.ends}", *last])


def _settled(live: dict[str, Any]) -> bool:
    status = live.get("status", {})
    pools = {pool["name"]: pool for pool in status.get("pools", ())}
    return (
        status.get("observedGeneration") == live["metadata"]["generation"]
        and pools.keys() == {pool["name"] for pool in live["spec"]["pools"]}
        and all(pool["replicas"] == pool["updated"] == pool["desired"] for pool in pools.values())
    )


def unchanged(api: Api) -> bool:
    """Whether nothing changes for three seconds."""
    before = api.versions()
    time.sleep(3)
    return api.versions() == before


def state(api: Api) -> dict[str, Any]:
    """Return everything that the operator writes in the namespace, without what differs between any two runs."""
    found = {f"{kind.kind} {name}": live for kind in KINDS for name, live in _list(api, kind).items()}
    uids = {live["metadata"]["uid"]: name for name, live in found.items()}
    return {name: _reduced(live, uids, api.namespace) for name, live in found.items()}


def _list(api: Api, kind: Kind) -> dict[str, Any]:
    return api.list(kind.path("{namespace}"), "" if kind == MODEL_SERVICE else "springtide.dev/service")


def _reduced(live: dict[str, Any], uids: dict[str, str], namespace: str) -> Any:
    metadata = live["metadata"]
    # What is neither a spec nor a status: the data of a revision, the switch of an account.
    rest = {
        key: value for key, value in live.items() if key not in {"apiVersion", "kind", "metadata", "spec", "status"}
    }
    spec = dict(live.get("spec", {}))
    for given in ("clusterIP", "clusterIPs"):
        spec.pop(given, None)
    owners = [uids.get(owner["uid"], "unknown") for owner in metadata.get("ownerReferences", ())]
    status: dict[str, Any] = {}
    if live.get("kind", "ModelService") == "ModelService" and "pools" in spec:
        status = dict(live.get("status", {}))
        status["conditions"] = [
            {key: value for key, value in one.items() if key != "lastTransitionTime"}
            for one in status.get("conditions", ())
        ]
    whole = {
        "labels": metadata.get("labels"),
        "annotations": {
            key: value
            for key, value in metadata.get("annotations", {}).items()
            if key != "deployment.kubernetes.io/revision"
        },
        "deleting": "deletionTimestamp" in metadata,
        "owners": owners,
        "spec": spec,
        "status": status,
        **rest,
    }
    text = json.dumps(whole, sort_keys=True).replace(namespace, "NAMESPACE")
    return json.loads(_POD_SUFFIX.sub("-POD", text))
