"""A namespace and an operator for each module of tests; `kubeconfig` is an administrator's of a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.support import Api, Operator, new_namespace, operator_kubeconfig, remove_namespace, running_operator


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
