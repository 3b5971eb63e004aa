"""A namespace and an operator for each module of tests; `kubeconfig` is an administrator's of a real API server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.policies import APPLY, CHOSEN, PATHS, SERVICES_ONLY, refusal, render
from tests.api.support import (
    MODEL_SERVICES,
    Api,
    Operator,
    account_kubeconfig,
    eventually,
    new_namespace,
    operator_kubeconfig,
    remove_namespace,
    running_operator,
)


@pytest.fixture(scope="module")
def api(kubeconfig: Path, request: pytest.FixtureRequest) -> Iterator[Api]:
    """Requests in a namespace of the module's own."""
    made = new_namespace(kubeconfig, request.module.__name__.rsplit(".", 1)[-1].replace("_", "-"))
    yield made
    remove_namespace(made)


@pytest.fixture(scope="module")
def operator(api: Api, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator that serves the module's namespace."""
    folder = tmp_path_factory.mktemp("operator")
    limited = operator_kubeconfig(kubeconfig, api, folder / "kubeconfig")
    with running_operator(limited, api.namespace, folder / "log") as running:
        yield running


@pytest.fixture(scope="module")
def policies(api: Api) -> Iterator[list[dict[str, Any]]]:
    """The objects of the chart's default values, in force; the cluster-scoped ones are gone afterwards."""
    made = render(api.namespace)
    try:
        for one in made:
            api.call("PATCH", f"{PATHS[one['kind']]}/{one['metadata']['name']}", one, APPLY, fieldManager="tests")
        yield made
    finally:
        for one in made:
            api.delete(PATHS[one["kind"]], one["metadata"]["name"])


@pytest.fixture(scope="module")
def tenant(api: Api, kubeconfig: Path, policies: object, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """Someone who may write ModelServices and nothing else; the policies are seen to act."""
    target = tmp_path_factory.mktemp("tenant") / "kubeconfig"
    made = Api(account_kubeconfig(kubeconfig, api, "tenant", SERVICES_ONLY, target), api.namespace)
    eventually(lambda: made.list(MODEL_SERVICES) == {})
    eventually(lambda: "needs the right to create pods" in refusal(made, "probe", runtime=CHOSEN), 30)
    return made


@pytest.fixture
def chosen(api: Api, tenant: Api) -> Iterator[str]:
    """A service whose image and arguments an administrator chose."""
    api.create("chosen", runtime=CHOSEN)
    yield "chosen"
    api.delete(MODEL_SERVICES, "chosen")
