"""A restart, and a start where nothing is installed."""

import time
from pathlib import Path

import pytest

from tests.api.support import (
    DEFINITION,
    DEPLOYMENTS,
    MODEL_SERVICES,
    Api,
    Refused,
    eventually,
    install_definitions,
    running_operator,
    started_operator,
)


def settle(api: Api, names: list[str]) -> None:
    def settled() -> bool:
        return all(api.status(name).get("replicas") == 1 and api.condition(name, "Ready") for name in names)

    eventually(settled, 30)


def test_a_restart_writes_nothing(api: Api, kubeconfig: Path, tmp_path: Path) -> None:
    names = ["one", "two", "three"]
    resources = {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": 1, "memory": "1.5Gi"}}
    with running_operator(kubeconfig, api.namespace, tmp_path / "first"):
        for name in names:
            api.create(name, pools=[{"name": "a", "resources": resources}, {"name": "b", "tier": "Offline"}])
        settle(api, names)
        time.sleep(1)
    before, applies = api.versions(), api.applies()
    with running_operator(kubeconfig, api.namespace, tmp_path / "second"):
        time.sleep(3)
    assert api.versions() == before
    # A write that changes nothing leaves the versions as they are, so the requests are counted as well.
    assert applies > 0
    assert api.applies() == applies


def test_what_changed_meanwhile_is_done_at_the_start(api: Api, kubeconfig: Path, tmp_path: Path) -> None:
    with running_operator(kubeconfig, api.namespace, tmp_path / "first"):
        api.create("late")
        api.create("dropped")
        settle(api, ["late", "dropped"])
    api.edit("late", {"replicas": 2})
    api.delete(MODEL_SERVICES, "dropped")
    with running_operator(kubeconfig, api.namespace, tmp_path / "second"):
        eventually(lambda: api.get(DEPLOYMENTS, "late-cpu")["spec"]["replicas"] == 2)
        eventually(lambda: "dropped-cpu" not in api.list(DEPLOYMENTS), 30)


def test_a_definition_that_comes_later_is_watched(api: Api, kubeconfig: Path, tmp_path: Path) -> None:
    api.call("DELETE", DEFINITION)
    eventually(lambda: refused(api), 30)
    with started_operator(kubeconfig, api.namespace, tmp_path / "log") as operator:
        eventually(lambda: any("can't be listed yet" in record["message"] for record in operator.records()), 60)
        install_definitions(api)
        eventually(operator.watching, 30)
        api.create("early")
        eventually(lambda: api.condition("early", "Accepted"))
        assert operator.stop() == 0


def refused(api: Api) -> bool:
    try:
        api.list(MODEL_SERVICES)
    except Refused:
        return True
    return False


def test_no_cluster_is_a_clear_error(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "none"
    with (
        pytest.raises(AssertionError, match="no access to a cluster"),
        running_operator(kubeconfig, "x", tmp_path / "log"),
    ):
        pass
