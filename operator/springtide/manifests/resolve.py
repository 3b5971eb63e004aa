"""A pool with every override and default applied. Nothing else reads spec.model, spec.precision and spec.runtime."""

from collections.abc import Mapping
from dataclasses import dataclass

from springtide.api.errors import Invalid
from springtide.api.model import MODEL_RULES, PoolModel, Task
from springtide.api.modelservice import ModelService
from springtide.api.pools import Pool
from springtide.api.runtime import Accelerator, Runtime, RuntimeName
from springtide.manifests.runtimes import PROFILES, Profile
from springtide.manifests.settings import Settings


@dataclass(frozen=True)
class ResolvedModel:
    """A model: `location` is the uri without its scheme."""

    scheme: str
    location: str
    revision: str | None
    task: Task
    credentials_secret: str | None

    @property
    def fetched(self) -> bool:
        """Whether an init container brings it."""
        return self.scheme in {"hf", "s3"}

    @property
    def uri(self) -> str:
        """Where it is, as it was written."""
        return f"{self.scheme}://{self.location}"


@dataclass(frozen=True)
class ResolvedRuntime:
    """A runtime: what its container runs and how it is asked."""

    name: RuntimeName
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    port: int
    readiness_path: str
    liveness_path: str
    metrics_path: str
    startup_seconds: int
    drain_seconds: int


@dataclass(frozen=True)
class ResolvedPool:
    """What one pool runs."""

    name: str
    tier: str
    online: bool
    replicas: int
    max_surge: int
    max_unavailable: int
    model: ResolvedModel
    cache_claim: str | None
    precision: str | None
    runtime: ResolvedRuntime
    accelerator: Accelerator | None
    requests: Mapping[str, int | str]
    limits: Mapping[str, int | str]
    node_selector: Mapping[str, str]

    @property
    def profile(self) -> Profile:
        """What the pool's runtime is by nature."""
        return PROFILES[self.runtime.name]


def resolve(service: ModelService, pool: Pool, settings: Settings, recorded_image: str = "") -> ResolvedPool:
    """Return the pool with every default applied; raises Invalid for what its runtime can't do.

    `recorded_image` is that of its revision: once there is one, the operator's default need not be known any more.
    """
    model = resolve_model(service, pool)
    return ResolvedPool(
        name=pool.name,
        tier=pool.tier,
        online=pool.tier != "Offline",
        replicas=wanted_replicas(service, pool),
        max_surge=pool.update.max_surge,
        max_unavailable=pool.update.max_unavailable,
        model=model,
        cache_claim=service.spec.cache.claim_name if service.spec.cache and model.fetched else None,
        precision=pool.precision or service.spec.precision,
        runtime=_runtime(service, pool, model.task, settings, recorded_image),
        accelerator=pool.accelerator,
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


def written_runtime(service: ModelService, pool: Pool) -> Runtime:
    """Return what is written of a pool's runtime; what spec.runtime says of another runtime does not count."""
    general, own = service.spec.runtime, pool.runtime
    if own is None:
        return general
    if own.name is not None and own.name != (general.name or "ModelServer"):
        return own
    set_here = {name: getattr(own, name) for name in own.model_fields_set}
    # An empty list says nothing, so that nobody takes away what the author of spec.runtime has chosen.
    return general.model_copy(update={name: value for name, value in set_here.items() if value not in (None, ())})


def resolve_model(service: ModelService, pool: Pool) -> ResolvedModel:
    """Return what a pool serves; raises Invalid where halves that are right by themselves don't fit."""
    general, own = service.spec.model, pool.model
    uri, revision, secret = general.uri, general.revision, general.credentials_secret_name
    if own is not None and own.uri is not None:
        uri, revision, secret = own.uri, own.revision, own.credentials_secret_name
    elif own is not None:
        revision, secret = own.revision or revision, own.credentials_secret_name or secret
    merged = PoolModel(uri=uri, revision=revision, credentials_secret_name=secret)
    for rule in MODEL_RULES:
        if not rule.holds(merged):
            raise Invalid(f"spec.pools[{pool.name}].model{rule.field_path}: {rule.message}")
    scheme, _, location = uri.partition("://")
    return ResolvedModel(scheme, location, revision, general.task, secret)


def _runtime(service: ModelService, pool: Pool, task: Task, settings: Settings, recorded: str) -> ResolvedRuntime:
    written = written_runtime(service, pool)
    name = written.name or "ModelServer"
    profile = PROFILES[name]
    image = written.image or recorded or settings.image_of(name)
    where = f"spec.pools[{pool.name}]"
    if image is None:
        raise Invalid(f"{where}.runtime.image: is required: the operator was installed with no image for {name}")
    precision = pool.precision or service.spec.precision or ""
    if precision not in profile.precisions:
        able = ", ".join(one for one in profile.precisions if one) or "none: pass it by args"
        raise Invalid(f"{where}.precision: {precision} can't be had with runtime {name}, which takes: {able}")
    count = pool.accelerator.count if pool.accelerator else 0
    args = (
        *profile.args,
        *profile.tasks[task],
        *profile.precisions[precision],
        *(profile.split if count > 1 else ()),
        *written.args,
    )
    return ResolvedRuntime(
        name=name,
        image=image,
        command=written.command or profile.command,
        args=args,
        env={**profile.environment, **{one.name: one.value for one in written.env}},
        port=written.port or profile.port,
        readiness_path=written.readiness_path or profile.readiness_path,
        liveness_path=written.liveness_path or profile.liveness_path,
        metrics_path=written.metrics_path or profile.metrics_path,
        startup_seconds=written.startup_seconds or profile.startup_seconds,
        drain_seconds=written.drain_seconds or profile.drain_seconds,
    )
