"""`springtide status` against a real API server."""

import os
import subprocess
import sys
from pathlib import Path

from tests.api.support import MODEL_SERVICES, Api


def shown(kubeconfig: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "springtide.cli.main", "status", *arguments]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_services_are_listed(api: Api, kubeconfig: Path) -> None:
    assert f"no ModelService in namespace {api.namespace}" in shown(kubeconfig, "-n", api.namespace).stdout
    api.create("chat")
    api.create("embed")
    try:
        one = shown(kubeconfig, "chat", "-n", api.namespace)
        assert one.returncode == 0, one.stderr
        assert [line.split()[0] for line in one.stdout.splitlines()] == ["NAME", "chat", "No"]
        everywhere = shown(kubeconfig, "-A").stdout
        assert {(api.namespace, name) for name in ("chat", "embed")} <= {
            tuple(line.split()[:2]) for line in everywhere.splitlines()
        }
    finally:
        api.delete(MODEL_SERVICES, "chat")
        api.delete(MODEL_SERVICES, "embed")


def test_what_is_absent_is_named(api: Api, kubeconfig: Path) -> None:
    absent = shown(kubeconfig, "nothing", "-n", api.namespace)
    assert (absent.returncode, absent.stdout) == (1, "")
    assert absent.stderr == f"springtide: there is no ModelService nothing in namespace {api.namespace}\n"
