"""What the operator knows of the cluster: the objects that it watches, reduced to what a reconcile reads."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from springtide.api.base import GROUP
from springtide.api.modelservice import RESTARTED_AT
from springtide.clients.cluster import CHILDREN, DEPLOYMENT, MODEL_SERVICE, OURS, POD, REVISION, TRAFFIC_FORECAST, Kind
from springtide.manifests.names import ONLINE_LABEL, POOL_LABEL, REVISION_LABEL, SERVICE_LABEL
from springtide.manifests.ownership import owned_fields
from springtide.manifests.revisions import Record
from springtide.status.observed import (
    ObservedDeployment,
    ObservedForecast,
    ObservedPod,
    observe_deployment,
    observe_forecast,
    observe_pod,
)

Name = tuple[str, str]
"""Namespace and name: of an object, and of the ModelService that is the key of the work queue."""

Value = TypeVar("Value")

_MOST_BURIED = 10_000


@dataclass(frozen=True)
class Entry(Generic[Value]):
    """An object: who it is, whose it is, the fields that are ours, and what its kind is watched for."""

    name: Name
    key: Name
    uid: str
    version: int
    owner: str
    deleting: bool
    owned: Any
    value: Value


@dataclass(frozen=True)
class Written:
    """A ModelService as it was written, not yet judged."""

    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]
    status: Mapping[str, Any]


class Store(Generic[Value]):
    """The objects of one kind. An older state of an object never replaces a newer one, nor brings back a deleted one.

    So the answers to our own writes go in as well as the events of the watch, whichever comes first.
    """

    def __init__(self, news: Callable[[Name, Entry[Value] | None], None] | None = None) -> None:
        """`news` is called with each object that is new or changed, and with None for each that is gone."""
        self._news = news
        self._entries: dict[Name, Entry[Value]] = {}
        self._by_key: dict[Name, set[Name]] = {}
        self._gone: dict[Name, int] = {}
        self._buried: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry[Value]]:
        return iter(list(self._entries.values()))

    def get(self, name: Name) -> Entry[Value] | None:
        """Return an object."""
        return self._entries.get(name)

    def of(self, key: Name) -> list[Entry[Value]]:
        """Return the objects that belong to a ModelService, by their label or by what they say."""
        return [self._entries[name] for name in sorted(self._by_key.get(key, ()))]

    def put(self, entry: Entry[Value]) -> bool:
        """Keep an object; tell whether that was news."""
        if entry.uid in self._buried:
            return False
        present = self._entries.get(entry.name)
        known = present.version if present else self._gone.get(entry.name, -1)
        if entry.version <= known:
            return False
        if present is not None and present.key != entry.key:
            self._unlink(present)
        self._gone.pop(entry.name, None)
        self._entries[entry.name] = entry
        self._by_key.setdefault(entry.key, set()).add(entry.name)
        self._tell(entry.name, entry)
        return True

    def replace(self, present: Entry[Value], entry: Entry[Value] | None) -> None:
        """Set right an object that was read live, whatever its version, unless something newer came meanwhile."""
        if self._entries.get(present.name) is not present:
            return
        del self._entries[present.name]
        self._unlink(present)
        if entry is not None:
            self.put(entry)
        else:
            self._tell(present.name, None)

    def remove(self, name: Name, version: int) -> bool:
        """Forget an object that was gone at the version; tell whether that was news."""
        present = self._entries.get(name)
        if present is not None and present.version > version:
            return False
        self._gone[name] = version
        if present is None:
            return False
        del self._entries[name]
        self._unlink(present)
        self._tell(name, None)
        return True

    def bury(self, uid: str) -> None:
        """Remember that an object is gone of which no watch told: what one tells of it later is old."""
        self._buried[uid] = None
        if len(self._buried) > _MOST_BURIED:
            del self._buried[next(iter(self._buried))]

    def exhume(self, uid: str) -> None:
        """Forget that an object was gone: a restore of the cluster brings it back."""
        self._buried.pop(uid, None)

    def forget_deletions(self, version: int) -> None:
        """Drop what is remembered of deletions up to a version: no answer can be so late as to be older."""
        self._gone = {name: gone for name, gone in self._gone.items() if gone > version}

    def newest(self) -> int:
        """Return the newest version seen."""
        versions = [entry.version for entry in self._entries.values()]
        return max([*versions, *self._gone.values()], default=0)

    def _tell(self, name: Name, entry: Entry[Value] | None) -> None:
        if self._news:
            self._news(name, entry)

    def _unlink(self, entry: Entry[Value]) -> None:
        names = self._by_key.get(entry.key, set())
        names.discard(entry.name)
        if not names:
            self._by_key.pop(entry.key, None)


class Cache:
    """A store for each kind."""

    def __init__(self, news: Callable[[Name, Entry[Written] | None], None] | None = None) -> None:
        """`news` is told of each change of a ModelService; see Store."""
        self.model_services: Store[Written] = Store(news)
        self._stores: dict[Kind, Store[Any]] = {kind: Store() for kind in (TRAFFIC_FORECAST, *CHILDREN, POD)}
        self._stores[MODEL_SERVICE] = self.model_services
        self.deployments: Store[ObservedDeployment] = self._stores[DEPLOYMENT]
        self.pods: Store[ObservedPod] = self._stores[POD]
        self.forecasts: Store[ObservedForecast] = self._stores[TRAFFIC_FORECAST]

    def store(self, kind: Kind) -> Store[Any]:
        """Return the store of a kind."""
        return self._stores[kind]

    def put(self, kind: Kind, live: Mapping[str, Any]) -> Name | None:
        """Keep a live object; return the key that it concerns when that was news."""
        entry = reduce(kind, live)
        return entry.key if self.store(kind).put(entry) else None

    def remove(self, kind: Kind, live: Mapping[str, Any]) -> Name | None:
        """Forget an object that was deleted; return the key that it concerned when that was news."""
        entry = reduce(kind, live)
        return entry.key if self.store(kind).remove(entry.name, entry.version) else None


def reduce(kind: Kind, live: Mapping[str, Any]) -> Entry[Any]:
    """Reduce a live object to what the cache keeps of it."""
    metadata = live["metadata"]
    name = (metadata["namespace"], metadata["name"])
    subresource = "status" if kind in OURS else ""
    return Entry(
        name=name,
        key=(name[0], _service(kind, live)),
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        owner=controller_of(metadata),
        deleting="deletionTimestamp" in metadata,
        owned=None if kind == POD else owned_fields(live, subresource),
        value=_value(kind, live),
    )


def _service(kind: Kind, live: Mapping[str, Any]) -> str:
    """Return the name of the ModelService that an object concerns."""
    if kind == MODEL_SERVICE:
        return str(live["metadata"]["name"])
    if kind == TRAFFIC_FORECAST:
        return str(live.get("spec", {}).get("serviceName", ""))
    return str(live["metadata"].get("labels", {}).get(SERVICE_LABEL, ""))


def controller_of(metadata: Mapping[str, Any]) -> str:
    """Return the uid of the ModelService that controls an object; empty when none does."""
    for owner in metadata.get("ownerReferences", ()):
        if owner.get("controller") and owner["apiVersion"].startswith(f"{GROUP}/") and owner["kind"] == "ModelService":
            return str(owner["uid"])
    return ""


def _value(kind: Kind, live: Mapping[str, Any]) -> Any:
    if kind == MODEL_SERVICE:
        metadata = {key: live["metadata"].get(key) for key in ("name", "namespace", "uid", "generation")}
        metadata["restartedAt"] = live["metadata"].get("annotations", {}).get(RESTARTED_AT, "")
        return Written(metadata, live.get("spec", {}), live.get("status", {}))
    if kind == DEPLOYMENT:
        return observe_deployment(live)
    if kind == REVISION:
        labels = live["metadata"].get("labels", {})
        template = live.get("data", {}).get("template", {})
        return Record(labels.get(POOL_LABEL, ""), labels.get(REVISION_LABEL, ""), live["revision"], template)
    if kind == TRAFFIC_FORECAST:
        return observe_forecast(live)
    if kind == POD:
        return observe_pod(live, pool_label=POOL_LABEL, online_label=ONLINE_LABEL)
    return None
