"""What the controllers need of a Kubernetes API server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from springtide.api.base import GROUP, VERSION

Object = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of object and where the API server keeps it."""

    api_version: str
    kind: str
    plural: str

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the path of an object, or of the collection; of all namespaces without a namespace."""
        root = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        parts = [root, *(("namespaces", namespace) if namespace else ()), self.plural]
        return "/".join([*parts, *(part for part in (name, subresource) if part)])


MODEL_SERVICE = Kind(f"{GROUP}/{VERSION}", "ModelService", "modelservices")
TRAFFIC_FORECAST = Kind(f"{GROUP}/{VERSION}", "TrafficForecast", "trafficforecasts")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
SERVICE = Kind("v1", "Service", "services")
POD = Kind("v1", "Pod", "pods")
REVISION = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
EVENT = Kind("events.k8s.io/v1", "Event", "events")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
OURS = (MODEL_SERVICE, TRAFFIC_FORECAST)
CHILDREN = (DEPLOYMENT, SERVICE, REVISION, ACCOUNT, NETWORK_POLICY, DISRUPTION_BUDGET, CONFIG_MAP)


class Objects(Protocol):
    """Single objects of an API server. Every method raises the errors of `springtide.api.errors` and no others."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the live object, None when there is none."""

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        """Create an object; Conflict when it is there."""

    async def update(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        """Replace an object; Conflict when it changed since its `metadata.resourceVersion`."""


class Cluster(Objects, Protocol):
    """An API server, on the same terms."""

    async def list(
        self, kind: Kind, namespace: str | None, labels: str = "", *, metadata: bool = False
    ) -> list[Object]:
        """Return the live objects of a namespace or of all, with `metadata` only their metadata."""

    async def apply(self, kind: Kind, desired: Mapping[str, Any], *, uid: str | None) -> Object:
        """Apply on the server and return the result. With a uid, only to that very object, and by force."""

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete that very object; nothing happens when it is gone."""

    async def patch_status(self, kind: Kind, desired: Mapping[str, Any]) -> Object:
        """Apply the status, unless the object changed since `metadata.resourceVersion`; return the result."""
