"""What the watches missed is found by reading the lists."""

import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from springtide.api.errors import Conflict, Missing
from springtide.clients.cluster import MODEL_SERVICE, Kind
from springtide.clients.kubernetes import KubernetesCluster
from springtide.controllers.cache import Cache, Name
from springtide.controllers.listing import Listing
from springtide.controllers.queue import WorkQueue
from tests.api.support import MODEL_SERVICES, Api


@pytest.fixture
async def cluster(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesCluster]:
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    made = await KubernetesCluster.connect()
    yield made
    await made.close()


async def test_a_missed_deletion_and_a_missed_change(api: Api, cluster: KubernetesCluster) -> None:
    cache, queue = Cache(), WorkQueue[Name]()
    listing = Listing(cluster, cache, queue, [api.namespace])
    for name in ("stays", "changes", "goes"):
        api.create(name)
    await listing.fill()
    assert len(cache.model_services) == len(queue) == 3
    for _ in range(3):
        queue.done(await queue.get())

    await listing.compare()
    assert len(queue) == 0, "nothing was missed"
    api.delete(MODEL_SERVICES, "goes")
    api.edit("changes", {"replicas": 2})
    api.create("comes")
    await listing.compare()
    assert {await queue.get() for _ in range(len(queue))} == {(api.namespace, n) for n in ("goes", "changes", "comes")}
    assert {entry.name[1] for entry in cache.model_services} == {"stays", "changes", "comes"}
    changed = cache.model_services.get((api.namespace, "changes"))
    assert changed is not None
    assert changed.value.spec["replicas"] == 2


async def test_a_missing_definition_is_told(cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Kind("springtide.dev/v1alpha1", "Tide", "tides")
    monkeypatch.setattr("springtide.controllers.listing.MODEL_SERVICE", other)
    with pytest.raises(Missing):
        await Listing(cluster, Cache(), WorkQueue(), ["default"]).wait_for_definition(0)


async def test_a_write_to_an_object_that_was_replaced_is_refused(api: Api, cluster: KubernetesCluster) -> None:
    made: dict[str, Any] = copy.deepcopy(api.create("replaced"))
    body = {
        "apiVersion": made["apiVersion"],
        "kind": made["kind"],
        "metadata": {"name": "replaced", "namespace": api.namespace, "resourceVersion": "1"},
        "status": {"url": "x"},
    }
    with pytest.raises(Conflict):
        await cluster.patch_status(MODEL_SERVICE, body)
