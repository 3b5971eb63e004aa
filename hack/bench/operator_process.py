"""The operator as a process beside a local cluster, with the permissions and the options that the chart gives it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.cluster.tools import program
from hack.shell import Failure, run, tail

ROOT = Path(__file__).resolve().parents[2]
SYSTEM = "springtide-system"
_OURS = {"--health-port": "0"}


class Operator:
    """Installed as the chart has it, but for the Deployment: that one's command is run here, outside the cluster.

    So it asks no model through its Service, which it does where it runs in a pod.
    """

    def __init__(self, spec: Spec, *settings: str) -> None:
        """Install everything that the chart brings with these values, as in `logLevel=debug`; start nothing."""
        values = (f"--namespace={SYSTEM}", *(f"--set={setting}" for setting in settings))
        rendered = run(program("helm"), "template", "springtide", ROOT / "charts/springtide", *values)
        objects = [one for one in yaml.safe_load_all(rendered) if one]
        (deployment,) = (one for one in objects if one["kind"] == "Deployment")
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
        others = [namespace, *(one for one in objects if one is not deployment)]
        kubectl(spec, "apply", "--server-side", "--filename=-", stdin=yaml.safe_dump_all(others))
        kubectl(spec, "wait", "--for=condition=Established", "crd/modelservices.springtide.dev", "--timeout=30s")
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        account = pod["serviceAccountName"]
        self.user = f"system:serviceaccount:{SYSTEM}:{account}"
        self._log = spec.logs / "operator.log"
        self._command = [sys.executable, "-m", "springtide.cli.operator", *_arguments(container)]
        self._environment = _environment(container) | {"KUBECONFIG": str(_kubeconfig(spec, account))}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def stop(self) -> None:
        """End the process, if one runs.

        Raises Failure when it does not end well and in time.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        try:
            code = process.wait(30)
        except BaseException:
            process.kill()
            process.wait()
            raise
        if code != 0:
            raise Failure(f"the operator ended with exit code {code}:\n{tail(self._log.read_text())}")

    def check(self) -> None:
        """Raise Failure with the end of its log when the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise Failure(f"the operator ended:\n{tail(self._log.read_text())}")

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        return self._get("/readyz") is not None

    def metrics(self) -> dict[str, float]:
        """Return its metrics by name, the series of a name added up; none before it serves them."""
        added: dict[str, float] = {}
        for family in text_string_to_metric_families(self._get("/metrics") or ""):
            for sample in family.samples:
                added[sample.name] = added.get(sample.name, 0.0) + sample.value
        return added

    def peak_memory(self) -> float:
        """Return the most memory that the process had resident until now, in MiB."""
        line = next(line for line in self._proc("status").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024

    def cpu_seconds(self) -> float:
        """Return the CPU time that the process used until now."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _proc(self, name: str) -> str:
        self.check()
        if self._process is None:
            raise Failure("the operator does not run")
        return Path(f"/proc/{self._process.pid}/{name}").read_text()

    def _get(self, path: str) -> str | None:
        port = self._port()
        if port is None:
            return None
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
                return str(response.read().decode())
        except (urllib.error.URLError, TimeoutError):
            return None

    def _port(self) -> int | None:
        with self._log.open() as log:
            for line in log:
                if line.endswith("\n") and (port := json.loads(line).get("port")):
                    return int(port)
        return None


def _arguments(container: dict[str, Any]) -> list[str]:
    given = [word for word in container["args"] if word.partition("=")[0] not in _OURS]
    return given + [f"{name}={value}" for name, value in _OURS.items()]


def _environment(container: dict[str, Any]) -> dict[str, str]:
    known = {"metadata.namespace": SYSTEM, "metadata.name": "bench"}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SPRINGTIDE_", "KUBERNETES_"))}
    for one in container.get("env", ()):
        field = one.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath", "")
        kept[one["name"]] = one["value"] if "value" in one else known.get(field, "")
    return kept


def _kubeconfig(spec: Spec, account: str) -> Path:
    token = kubectl(spec, "create", "token", account, f"--namespace={SYSTEM}", "--duration=12h").strip()
    written = json.loads(spec.kubeconfig.read_text())
    written["users"] = [{"name": one["name"], "user": {"token": token}} for one in written["users"]]
    for one in written["contexts"]:
        one["context"]["namespace"] = SYSTEM
    target = spec.home / "operator.kubeconfig"
    target.touch(mode=0o600)
    target.write_text(json.dumps(written))
    return target
