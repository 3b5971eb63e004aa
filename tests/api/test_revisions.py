"""Revisions against a real API server: which writes change a pod template, through edits, restarts and new builds."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.api.support import (
    DEPLOYMENTS,
    EVENTS,
    MODEL_SERVICES,
    NETWORK_POLICIES,
    REVISIONS,
    ROOT,
    Api,
    Operator,
    eventually,
    operator_kubeconfig,
    running_operator,
)

SPEC = {"model": {"uri": "oci://models.springtide.dev/chat", "revision": "v1"}}
ENVIRONMENT = '"MODEL_NAME": service,'


@pytest.fixture(scope="module")
def limited(api: Api, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_kubeconfig(kubeconfig, api, tmp_path_factory.mktemp("operator") / "kubeconfig")


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Another build of the operator: its pods have one more variable in their environment."""
    package = tmp_path / "springtide"
    shutil.copytree(ROOT / "operator/springtide", package)
    pods = package / "manifests/pods.py"
    text = pods.read_text()
    assert text.count(ENVIRONMENT) == 1
    pods.write_text(text.replace(ENVIRONMENT, f'{ENVIRONMENT} "NEWER": "1",'))
    return tmp_path


@contextmanager
def operating(limited: Path, api: Api, log: Path, path: Path | None = None) -> Iterator[Operator]:
    environment = {"PYTHONPATH": str(path)} if path else {}
    with running_operator(limited, api.namespace, log, environment=environment) as running:
        yield running


def template(api: Api, name: str) -> Any:
    return api.get(DEPLOYMENTS, name)["spec"]["template"]


def variables(template: Any) -> set[str]:
    return {one["name"] for one in template["spec"]["containers"][0]["env"]}


def done(api: Api, name: str) -> bool:
    live = api.get(MODEL_SERVICES, name)
    return bool(live.get("status", {}).get("observedGeneration") == live["metadata"]["generation"])


def revisions(api: Api, name: str) -> dict[str, int]:
    found = api.list(REVISIONS, f"springtide.dev/service={name}").values()
    return {one["metadata"]["labels"]["springtide.dev/revision"]: one["revision"] for one in found}


def current(api: Api, name: str) -> str:
    return str(api.status(name)["pools"][0]["revision"])


def test_a_new_operator_writes_nothing_and_a_rollback_is_exact(
    api: Api, limited: Path, newer: Path, tmp_path: Path
) -> None:
    api.create("kept", **SPEC)
    with operating(limited, api, tmp_path / "1"):
        eventually(lambda: done(api, "kept") and revisions(api, "kept"))
    first, first_revision, before = template(api, "kept-cpu"), current(api, "kept"), api.versions()
    with operating(limited, api, tmp_path / "2", newer) as operator:
        eventually(lambda: operator.metric("springtide_reconcile_total", result="success") > 0)
        assert api.versions() == before
        assert operator.writes() == 0

        api.edit("kept", {"replicas": 2})
        eventually(lambda: api.get(DEPLOYMENTS, "kept-cpu")["spec"]["replicas"] == 2)
        assert template(api, "kept-cpu") == first, "an edit of something else keeps the pods too"

        api.edit("kept", {"model": {"revision": "v2"}})
        eventually(lambda: "NEWER" in variables(template(api, "kept-cpu")))
        eventually(lambda: revisions(api, "kept").get(current(api, "kept")) == 2)

        api.edit("kept", {"model": {"revision": "v1"}})
        eventually(lambda: template(api, "kept-cpu") == first)
        eventually(lambda: revisions(api, "kept")[first_revision] == 3)


def test_a_lost_record_comes_back_from_what_runs(api: Api, limited: Path, newer: Path, tmp_path: Path) -> None:
    api.create("lost", **SPEC)
    with operating(limited, api, tmp_path / "1"):
        eventually(lambda: done(api, "lost") and revisions(api, "lost"))
    before = template(api, "lost-cpu")
    (name,) = api.list(REVISIONS, "springtide.dev/service=lost")
    record = api.get(REVISIONS, name)["data"]
    api.delete(REVISIONS, name)
    with operating(limited, api, tmp_path / "2", newer):
        eventually(lambda: api.list(REVISIONS, "springtide.dev/service=lost"))
    assert template(api, "lost-cpu") == before
    assert api.get(REVISIONS, name)["data"] == record


def test_a_restart_on_request_takes_the_new_template(api: Api, limited: Path, newer: Path, tmp_path: Path) -> None:
    api.create("again", **SPEC)
    with operating(limited, api, tmp_path / "1"):
        eventually(lambda: done(api, "again") and revisions(api, "again"))
    with operating(limited, api, tmp_path / "2", newer):
        annotation = {"springtide.dev/restartedAt": "2026-01-01T00:00:00Z"}
        api.patch(f"{MODEL_SERVICES}/again", {"metadata": {"annotations": annotation}})
        eventually(lambda: "NEWER" in variables(template(api, "again-cpu")))
        eventually(lambda: len(revisions(api, "again")) == 2)


def test_history_is_bounded(api: Api, limited: Path, tmp_path: Path) -> None:
    api.create("long", **SPEC)
    with operating(limited, api, tmp_path / "1"):
        for number in range(1, 8):
            api.edit("long", {"model": {"revision": f"v{number}"}})
            volume = f"models.springtide.dev/chat:v{number}"
            eventually(
                lambda volume=volume: volume in str(template(api, "long-cpu")["spec"]["volumes"])  # type: ignore[misc]
            )
        eventually(lambda: sorted(revisions(api, "long").values()) == [3, 4, 5, 6, 7])


def test_what_an_api_server_refuses_is_not_remembered(api: Api, limited: Path, tmp_path: Path) -> None:
    bad = {"pools": [{"name": "cpu", "resources": {"limits": {"/": "1"}}}]}

    def events(reason: str) -> list[Any]:
        found = api.list(EVENTS).values()
        return [one for one in found if (one["regarding"]["name"], one["reason"]) == ("refused", reason)]

    api.create("refused", **SPEC)
    with operating(limited, api, tmp_path / "1"):
        eventually(lambda: done(api, "refused") and revisions(api, "refused"))
        # Admission can't know that a domain has no such form.
        api.edit("refused", bad)
        eventually(lambda: api.condition("refused", "Accepted")["reason"] == "InvalidSpec")
        assert len(revisions(api, "refused")) == 1
        api.edit("refused", {"pools": [{"name": "cpu"}]})
        eventually(lambda: api.condition("refused", "Accepted")["status"] == "True")
        (told,) = events("InvalidSpec")
    with operating(limited, api, tmp_path / "2"):
        api.edit("refused", bad)
        eventually(lambda: [one.get("series", {}).get("count") for one in events("InvalidSpec")] == [2])
    assert events("InvalidSpec")[0]["metadata"]["uid"] == told["metadata"]["uid"]


def test_network_policies_go_when_they_are_switched_off(api: Api, limited: Path, tmp_path: Path) -> None:
    api.create("open", **SPEC)
    with operating(limited, api, tmp_path / "1"):
        eventually(lambda: api.list(NETWORK_POLICIES, "springtide.dev/service=open"))
    with running_operator(limited, api.namespace, tmp_path / "2", "--network-policies=false"):
        eventually(lambda: not api.list(NETWORK_POLICIES, "springtide.dev/service=open"))
