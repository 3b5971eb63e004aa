"""One reconcile against a cluster in memory: what is sent, and what is said when that fails."""

from collections.abc import Mapping
from typing import Any

import pytest

from springtide.api.errors import Conflict, Forbidden, Invalid, NameConflict, Silent, SpringtideError, Unavailable
from springtide.clients.cluster import ACCOUNT, DEPLOYMENT, MODEL_SERVICE, POD, REVISION, SERVICE, Kind, Object
from springtide.clients.route import Route
from springtide.controllers.cache import Cache
from springtide.controllers.reconcile import Reconciler
from springtide.manifests.revisions import plan_pools
from tests.unit.samples import SETTINGS, model_service

KEY = ("team-a", "chat")
SPEC = {"model": {"uri": "oci://r.example/m:v1"}, "pools": [{"name": "cpu"}]}


class MemoryCluster:
    """Keeps what is applied; fails as it is told to."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Kind, str], Object] = {}
        self.sent: list[tuple[str, str]] = []
        self.statuses: list[Mapping[str, Any]] = []
        self.events: list[Mapping[str, Any]] = []
        self.failures: dict[str, SpringtideError] = {}
        self._version = 100

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self.objects.get((kind, name))

    async def list(
        self, kind: Kind, namespace: str | None, labels: str = "", *, metadata: bool = False
    ) -> list[Object]:
        return [live for (one, _), live in self.objects.items() if one == kind]

    async def apply(self, kind: Kind, desired: Mapping[str, Any], *, uid: str | None) -> Object:
        name = desired["metadata"]["name"]
        self.sent.append((kind.kind, name))
        if kind.kind in self.failures:
            raise self.failures[kind.kind]
        self._version += 1
        metadata = dict(desired["metadata"]) | {"uid": f"u-{name}", "resourceVersion": str(self._version)}
        self.objects[kind, name] = dict(desired) | {"metadata": metadata}
        return self.objects[kind, name]

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        self.sent.append((f"delete {kind.kind}", name))

    async def patch_status(self, kind: Kind, desired: Mapping[str, Any]) -> Object:
        self.statuses.append(desired["status"])
        return written(SPEC, version=int(desired["metadata"]["resourceVersion"]) + 1, status=desired["status"])

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        self.events.append(body)
        return dict(body)

    async def update(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        return dict(body)


def written(spec: Any, *, version: int = 1, status: Any = None) -> Object:
    metadata = {"namespace": KEY[0], "name": KEY[1], "uid": "u", "generation": 2, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def owned(name: str, *, version: int = 5, **fields: Any) -> Object:
    """A child of the service that we applied."""
    owner = {"apiVersion": "springtide.dev/v1alpha1", "kind": "ModelService", "uid": "u", "controller": True}
    paths: dict[str, Any] = {"f:spec": {"f:selector": {}}} if fields else {}
    metadata = {
        "namespace": KEY[0],
        "name": name,
        "uid": "o",
        "resourceVersion": str(version),
        "labels": {"springtide.dev/service": "chat"},
        "ownerReferences": [owner],
        "managedFields": [{"manager": "springtide", "operation": "Apply", "fieldsV1": paths}],
    }
    return {"metadata": metadata, **fields}


def put_owned(cache: Cache, kind: Kind, name: str, **fields: Any) -> None:
    cache.put(kind, owned(name, **fields))


@pytest.fixture
def cluster() -> MemoryCluster:
    return MemoryCluster()


async def reconcile(
    cluster: MemoryCluster,
    spec: Any = SPEC,
    cache: Cache | None = None,
    status: Any = None,
    route: Route | None = None,
) -> SpringtideError | None:
    cache = cache or Cache()
    cluster.objects[MODEL_SERVICE, KEY[1]] = written(spec, status=status)
    cache.put(MODEL_SERVICE, cluster.objects[MODEL_SERVICE, KEY[1]])
    return await Reconciler(cluster, cache, SETTINGS, lambda: "2026-01-01T00:00:00Z", route).reconcile(KEY)


def accepted(cluster: MemoryCluster) -> Mapping[str, Any]:
    (status,) = cluster.statuses
    return next(one for one in status["conditions"] if one["type"] == "Accepted")


async def test_everything_is_made_and_told_once(cluster: MemoryCluster) -> None:
    assert await reconcile(cluster) is None
    sent = [kind for kind, _ in cluster.sent]
    assert sent == [
        *("ServiceAccount", "NetworkPolicy", "ConfigMap"),
        *("Deployment", "Service", "PodDisruptionBudget"),
        *("Service", "ControllerRevision"),
    ]
    assert accepted(cluster)["status"] == "True"


async def test_nothing_is_sent_to_an_object_of_someone_else(cluster: MemoryCluster) -> None:
    metadata = {"namespace": KEY[0], "name": "chat", "uid": "x", "resourceVersion": "9"}
    cluster.objects[SERVICE, "chat"] = {"metadata": metadata}
    error = await reconcile(cluster)
    assert isinstance(error, NameConflict)
    assert ("Service", "chat") not in cluster.sent
    assert accepted(cluster)["reason"] == "NameConflict"


async def test_nothing_is_deleted_while_its_successor_is_refused(cluster: MemoryCluster) -> None:
    cache = Cache()
    put_owned(cache, DEPLOYMENT, "chat-old")
    cluster.failures["Deployment"] = Forbidden("exceeded quota")
    assert isinstance(await reconcile(cluster, cache=cache), Forbidden)
    assert not [one for one in cluster.sent if one[0].startswith("delete")]
    cluster.failures.clear()
    await reconcile(cluster, cache=cache)
    assert ("delete Deployment", "chat-old") in cluster.sent


async def test_nothing_is_deleted_for_a_service_that_changed_meanwhile(cluster: MemoryCluster) -> None:
    cache = Cache()
    put_owned(cache, DEPLOYMENT, "chat-old")

    class Edited(MemoryCluster):
        async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
            live = await super().get(kind, namespace, name)
            return live and live | {"metadata": live["metadata"] | {"generation": 3}}

    edited = Edited()
    assert isinstance(await reconcile(edited, cache=cache), Conflict)
    assert not [one for one in edited.sent if one[0].startswith("delete")]


async def test_what_cannot_be_changed_is_made_anew(cluster: MemoryCluster) -> None:
    cache = Cache()
    selector = {"matchLabels": {"app": "old"}}
    put_owned(cache, DEPLOYMENT, "chat-cpu", spec={"selector": selector})
    assert await reconcile(cluster, cache=cache) is None
    assert ("delete Deployment", "chat-cpu") in cluster.sent
    assert ("Deployment", "chat-cpu") not in cluster.sent
    cache.remove(DEPLOYMENT, owned("chat-cpu", version=9))
    assert await reconcile(cluster, cache=cache) is None
    assert ("Deployment", "chat-cpu") in cluster.sent


async def test_a_revision_that_was_refused_is_not_remembered(cluster: MemoryCluster) -> None:
    cluster.failures["Deployment"] = Invalid("spec.template: no")
    assert isinstance(await reconcile(cluster), Invalid)
    assert not [one for one in cluster.sent if one[0] == "ControllerRevision"]


async def test_events_are_told_once(cluster: MemoryCluster) -> None:
    cluster.failures["Deployment"] = Forbidden("exceeded quota")
    assert isinstance(await reconcile(cluster), Forbidden)
    (event,) = cluster.events
    assert (event["type"], event["reason"], event["regarding"]["name"]) == ("Warning", "Forbidden", "chat")
    await reconcile(cluster, status=cluster.statuses[-1])
    assert len(cluster.events) == 1


def before(**statuses: str) -> dict[str, Any]:
    def condition(kind: str, status: str) -> dict[str, Any]:
        return {"type": kind, "status": status, "reason": "Before", "message": "", "lastTransitionTime": ""}

    return {"observedGeneration": 1, "conditions": [condition(kind, status) for kind, status in statuses.items()]}


async def test_while_children_cannot_be_written_only_who_answers_is_judged(cluster: MemoryCluster) -> None:
    cluster.failures["Service"] = Unavailable("timeout")
    cache = Cache()
    cache.put(POD, ready_pod())
    status = before(Accepted="True", Available="True", Ready="True")
    assert isinstance(await reconcile(cluster, cache=cache, status=status), Unavailable)
    (made,) = cluster.statuses
    assert made["observedGeneration"] == 1, "the new generation is not acted on"
    assert {one["type"]: (one["status"], one["reason"]) for one in made["conditions"]} == {
        "Accepted": ("True", "Before"),
        "Available": ("True", "ReplicasReady"),
        "Ready": ("True", "Before"),
    }
    cluster.statuses.clear()
    await reconcile(cluster, status=status)
    assert {one["type"]: one["status"] for one in cluster.statuses[0]["conditions"]} == {
        "Accepted": "True",
        "Available": "False",
        "Ready": "False",
    }


async def test_no_pod_runs_under_an_account_of_someone_else(cluster: MemoryCluster) -> None:
    metadata = {"namespace": KEY[0], "name": "chat-model-server", "uid": "x", "resourceVersion": "9"}
    cluster.objects[ACCOUNT, "chat-model-server"] = {"metadata": metadata}
    assert isinstance(await reconcile(cluster), NameConflict)
    assert not {"Deployment", "ControllerRevision"} & {kind for kind, _ in cluster.sent}


@pytest.mark.parametrize("name", ["chat-cpu-other", "chat-cpu-{revision}"])
async def test_a_record_that_cannot_be_ours_is_none(cluster: MemoryCluster, name: str) -> None:
    revision = plan_pools(model_service(SPEC), SETTINGS)[0].revision
    cache = Cache()
    planted = owned(name.format(revision=revision))
    planted["metadata"]["labels"] |= {"springtide.dev/pool": "cpu", "springtide.dev/revision": revision}
    hosts = {"spec": {"containers": [{"name": "model-server", "image": "evil"}]}} if "other" in name else {}
    cache.put(REVISION, planted | {"revision": 1, "data": {"template": hosts}})
    await reconcile(cluster, cache=cache)
    template = cluster.objects[DEPLOYMENT, "chat-cpu"]["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == SETTINGS.model_server_image


async def test_a_spec_that_cannot_be_read_is_a_condition(cluster: MemoryCluster) -> None:
    error = await reconcile(cluster, {"model": {"uri": "oci://x/y"}, "pools": [{"name": "a", "tier": "Fast"}]})
    assert error is not None
    assert not cluster.sent
    assert accepted(cluster)["reason"] == "InvalidSpec"
    assert accepted(cluster)["message"].startswith("spec.pools[0].tier: ")


async def test_an_error_of_ours_is_a_condition(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("springtide.controllers.planning.build", fail)
    error = await reconcile(cluster)
    assert error is not None
    assert error.reason == "InternalError"
    assert accepted(cluster)["status"] == "Unknown"


async def test_a_service_that_is_being_deleted_is_left_alone(cluster: MemoryCluster) -> None:
    cache = Cache()
    going = written(SPEC, version=2)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cache.put(MODEL_SERVICE, going)
    assert await reconcile(cluster, cache=cache) is None
    assert not cluster.sent
    assert not cluster.statuses


async def test_a_new_service_has_conditions_even_while_its_children_cannot_be_written(cluster: MemoryCluster) -> None:
    cluster.failures["Deployment"] = Unavailable("the API server is overloaded")
    assert isinstance(await reconcile(cluster), Unavailable)
    assert accepted(cluster)["status"] == "Unknown"


class SilentRoute:
    """A route on which nothing answers."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def silence(self, url: str, attempts: int = 3) -> str:
        self.asked.append(url)
        return f"{url} does not answer: refused"


def ready_pod() -> Object:
    labels = {"springtide.dev/service": KEY[1], "springtide.dev/pool": "cpu", "springtide.dev/online": "true"}
    metadata: Object = {"namespace": KEY[0], "name": "chat-cpu-x", "uid": "p", "resourceVersion": "7", "labels": labels}
    metadata["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "chat-cpu-5d4f", "controller": True}
    ]
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}


async def test_the_route_is_asked_once_a_pod_is_ready_and_asked_again_while_it_is_silent(
    cluster: MemoryCluster,
) -> None:
    route, cache = SilentRoute(), Cache()
    assert await reconcile(cluster, cache=cache, route=route) is None
    assert not route.asked, "no pod could answer yet"
    cache.put(POD, ready_pod())
    assert isinstance(await reconcile(cluster, cache=cache, route=route), Silent)
    assert route.asked == ["http://chat.team-a.svc/healthz"]
    conditions = {one["type"]: one for one in cluster.statuses[-1]["conditions"]}
    assert conditions["Available"]["reason"] == "RouteNotAnswering"


async def test_a_service_with_offline_pools_alone_is_asked_through_its_first_pool(cluster: MemoryCluster) -> None:
    route, cache = SilentRoute(), Cache()
    cache.put(POD, ready_pod())
    await reconcile(cluster, SPEC | {"pools": [{"name": "cpu", "tier": "Offline"}]}, cache, route=route)
    assert route.asked == ["http://chat-cpu.team-a.svc/healthz"]
