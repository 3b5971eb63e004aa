"""A pool with every override and default applied. Nothing else reads spec.model and spec.runtime."""

from collections.abc import Mapping
from dataclasses import dataclass

from springtide.api.modelservice import ModelService, Pool, Task
from springtide.manifests.settings import Settings


@dataclass(frozen=True)
class ResolvedPool:
    """What one pool runs."""

    name: str
    tier: str
    online: bool
    replicas: int
    model_reference: str
    task: Task
    image: str
    args: tuple[str, ...]
    requests: Mapping[str, int | str]
    limits: Mapping[str, int | str]
    node_selector: Mapping[str, str]


def resolve(service: ModelService, pool: Pool, settings: Settings) -> ResolvedPool:
    """Return the pool with every default applied."""
    spec = service.spec
    return ResolvedPool(
        name=pool.name,
        tier=pool.tier,
        online=pool.tier != "Offline",
        replicas=wanted_replicas(service, pool),
        model_reference=_reference(spec.model.uri, spec.model.revision),
        task=spec.model.task,
        image=spec.runtime.image or settings.model_server_image,
        args=spec.runtime.args,
        requests=pool.resources.requests,
        limits=pool.resources.limits,
        node_selector=pool.node_selector,
    )


def wanted_replicas(service: ModelService, pool: Pool) -> int:
    """Return how many replicas a pool should have: spec.replicas for the first one when set, else its minimum."""
    pinned = service.spec.replicas
    if pinned is not None and pool.name == service.spec.pools[0].name:
        return pinned
    return pool.replicas.min


def _reference(uri: str, revision: str | None) -> str:
    image = uri.removeprefix("oci://")
    if revision is None:
        return image
    return f"{image}@{revision}" if revision.startswith("sha256:") else f"{image}:{revision}"
