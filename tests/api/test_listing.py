"""What the watches missed is found by reading the lists."""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from springtide.api.errors import Conflict, Missing
from springtide.clients.cluster import DEPLOYMENT, MODEL_SERVICE, POD, SERVICE, Kind
from springtide.clients.kubernetes import KubernetesCluster
from springtide.controllers.cache import Cache, Name
from springtide.controllers.listing import Listing
from springtide.controllers.queue import WorkQueue
from tests.api.support import (
    DEPLOYMENTS,
    MODEL_SERVICES,
    PODS,
    SERVICES,
    TRAFFIC_FORECASTS,
    Api,
    after,
    eventually,
    operator_kubeconfig,
)

SECCOMP = {"type": "RuntimeDefault"}
RESTRICTED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


@pytest.fixture(scope="module")
def limited(api: Api, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The operator's own rights."""
    target = operator_kubeconfig(kubeconfig, api, tmp_path_factory.mktemp("account") / "kubeconfig")
    eventually(lambda: Api(target, api.namespace).list(PODS) == {})
    return target


@pytest.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[Path], Awaitable[KubernetesCluster]]]:
    made: list[KubernetesCluster] = []

    async def connected(kubeconfig: Path) -> KubernetesCluster:
        monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        made.append(await KubernetesCluster.connect())
        return made[-1]

    yield connected
    for one in made:
        await one.close()


@pytest.fixture
async def cluster(connect: Callable[[Path], Awaitable[KubernetesCluster]], limited: Path) -> KubernetesCluster:
    return await connect(limited)


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


async def test_a_forecast_that_moved_unseen_concerns_both_services(api: Api, cluster: KubernetesCluster) -> None:
    cache, queue = Cache(), WorkQueue[Name]()
    listing = Listing(cluster, cache, queue, [api.namespace])
    api.forecast("moves", serviceName="from", announcement={"startsAt": after(1), "endsAt": after(2), "multiplier": 2})
    await listing.fill()
    waiting = {await queue.get() for _ in range(len(queue))}
    assert (api.namespace, "from") in waiting, "also where there is no such service"
    for key in waiting:
        queue.done(key)
    api.patch(f"{TRAFFIC_FORECASTS}/moves", {"spec": {"serviceName": "to"}})
    await listing.compare()
    assert {await queue.get() for _ in range(len(queue))} == {(api.namespace, "from"), (api.namespace, "to")}
    api.delete(TRAFFIC_FORECASTS, "moves")


async def test_children_that_no_watch_told_of_are_read(api: Api, cluster: KubernetesCluster) -> None:
    cache, queue = Cache(), WorkQueue[Name]()
    listing = Listing(cluster, cache, queue, [api.namespace])
    await listing.fill()
    labels = {"springtide.dev/service": "theirs"}
    container = {"name": "a", "image": "example.com/a:1", "securityContext": RESTRICTED}
    pod = {"containers": [container], "securityContext": {"runAsNonRoot": True, "seccompProfile": SECCOMP}}
    template = {"metadata": {"labels": labels}, "spec": pod}
    specs: dict[str, Any] = {
        DEPLOYMENTS: {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        SERVICES: {"ports": [{"port": 80}]},
        PODS: pod,
    }
    for path, spec in specs.items():
        eventually(lambda p=path, s=spec: api.call("POST", p, {"metadata": {"name": "x", "labels": labels}, "spec": s}))  # type: ignore[misc]
    await listing.compare()
    stores = (cache.store(kind) for kind in (DEPLOYMENT, SERVICE, POD))
    assert all(store.get((api.namespace, "x")) is not None for store in stores)


async def test_a_missing_definition_is_told(
    connect: Callable[[Path], Awaitable[KubernetesCluster]], kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = await connect(kubeconfig)
    other = Kind("springtide.dev/v1alpha1", "Tide", "tides")
    monkeypatch.setattr("springtide.controllers.listing.OURS", (MODEL_SERVICE, other))
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
