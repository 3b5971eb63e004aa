"""What `springtide status` prints."""

from pathlib import Path
from typing import Any

import pytest

from springtide.cli.main import main
from springtide.cli.status import table

READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "all replicas are ready"}
WAITING = {"type": "Ready", "status": "False", "reason": "ImagePullBackOff", "message": "pod chat-1:\nno such image"}


def service(name: str, namespace: str = "a", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}} | ({"status": status} if status else {})


def test_table() -> None:
    url = "http://embed.a.svc"
    services = [
        service("embed", conditions=[READY], replicas=2, targetReplicas=12, url=url),
        service("chat", conditions=[WAITING | {"type": "Available"}, WAITING], replicas=0, targetReplicas=1),
        service("new"),
    ]
    assert table(services, namespaces=False).splitlines() == [
        "NAME    READY     REPLICAS   TARGET   URL",
        "chat    False     0          1        -",
        "  ImagePullBackOff: pod chat-1: no such image",
        f"embed   True      2          12       {url}",
        "new     Unknown   -          -        -",
        "  No status yet: the operator has not seen it, or does not run.",
    ]


def test_namespaces() -> None:
    head, first, *_, second, _ = table([service("x", "b"), service("x", "a")], namespaces=True).splitlines()
    assert head.startswith("NAMESPACE   NAME")
    assert (first.split()[0], second.split()[0]) == ("a", "b")


def test_no_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "absent"))
    assert main(["status"]) == 1
    assert capsys.readouterr().err.startswith("springtide: no access to a cluster: ")
