"""How a model comes to its server: the volume that holds it, where the server finds it, and who brings it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.resolve import ResolvedModel, ResolvedPool
from springtide.manifests.settings import Settings

FETCHER = "fetch-model"
MODEL_PATH = "/models/model"
CACHE_PATH = "/models/cache"
DEFAULT = "SPRINGTIDE_DEFAULT_"

# The keys that are taken from the Secret of a model; the first one must be there. No others are taken: a variable such
# as LD_PRELOAD would let the author of a Secret run code.
SECRET_KEYS: Mapping[str, tuple[str, ...]] = {
    "hf": ("HF_TOKEN", "HF_ENDPOINT"),
    "s3": (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_ENDPOINT_URL",
    ),
}


@dataclass(frozen=True)
class Delivery:
    """Parts of a pod; `path` is where the server finds the model."""

    path: str
    volumes: list[dict[str, Any]] = field(default_factory=list)
    mounts: list[dict[str, Any]] = field(default_factory=list)
    init_containers: list[dict[str, Any]] = field(default_factory=list)
    pull_secrets: list[dict[str, str]] = field(default_factory=list)


def deliver(service: ModelService, pool: ResolvedPool, settings: Settings, container: Mapping[str, Any]) -> Delivery:
    """Return the parts for the pool's model; `container` is what an init container has in common with the server."""
    model = pool.model
    match model.scheme:
        case "oci":
            volume = {"name": "model", "image": {"reference": image_reference(model), "pullPolicy": "IfNotPresent"}}
            pull = [{"name": model.credentials_secret}] if model.credentials_secret else []
            return Delivery(MODEL_PATH, [volume], [_mount("model", MODEL_PATH)], pull_secrets=pull)
        case "pvc":
            claim, _, path = model.location.partition("/")
            volume = {"name": "model", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
            mount = _mount("model", MODEL_PATH) | ({"subPath": path} if path else {})
            return Delivery(MODEL_PATH, [volume], [mount])
        case "file":
            return Delivery(model.location)
    storage: dict[str, Any] = {"emptyDir": {}}
    if pool.cache_claim:
        storage = {"persistentVolumeClaim": {"claimName": pool.cache_claim}}
    return Delivery(
        f"{CACHE_PATH}/links/{link_name(service, pool)}",
        [{"name": "cache", **storage}],
        [_mount("cache", CACHE_PATH)],
        [_fetcher(model, link_name(service, pool), settings, container)],
    )


def image_reference(model: ResolvedModel) -> str:
    """Return the image of an oci:// model."""
    if model.revision is None:
        return model.location
    separator = "@" if model.revision.startswith("sha256:") else ":"
    return f"{model.location}{separator}{model.revision}"


def link_name(service: ModelService, pool: ResolvedPool) -> str:
    """Return the name under which a pool finds its model in the cache.

    Nobody else has it: with other credentials the same uri may be another model, and a branch moves.
    """
    metadata, model = service.metadata, pool.model
    parts = (metadata.namespace, metadata.name, pool.name, model.uri, model.revision, model.credentials_secret)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _fetcher(model: ResolvedModel, link: str, settings: Settings, container: Mapping[str, Any]) -> dict[str, Any]:
    taken = SECRET_KEYS[model.scheme] if model.credentials_secret else ()
    env: list[dict[str, Any]] = [{"name": "HOME", "value": "/tmp"}]  # noqa: S108
    for name, value in settings.fetch_environment.items():
        # A name may be there once, and the Secret may lack it: then the program takes the default.
        env.append({"name": f"{DEFAULT}{name}" if name in taken else name, "value": value})
    if model.credentials_secret:
        for name in taken:
            reference = {"name": model.credentials_secret, "key": name, "optional": name != taken[0]}
            env.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    revision = ("--revision", model.revision) if model.revision else ()
    return {
        **container,
        "name": FETCHER,
        "image": settings.model_server_image,
        "command": ["springtide-model-fetch"],
        "args": ["--uri", model.uri, *revision, "--cache", CACHE_PATH, "--link", link],
        "env": env,
        "volumeMounts": [{"name": "cache", "mountPath": CACHE_PATH}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}
