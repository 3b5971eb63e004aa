"""How a model comes to its server: the volume that holds it, where the server finds it, and who brings it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from springtide.manifests.resolve import ResolvedModel, ResolvedPool
from springtide.manifests.settings import Settings

FETCHER = "fetch-model"
MODEL_PATH = "/models/model"
CACHE_PATH = "/models/cache"

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


def deliver(pool: ResolvedPool, settings: Settings, container: Mapping[str, Any]) -> Delivery:
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
        f"{CACHE_PATH}/links/{link_name(model)}",
        [{"name": "cache", **storage}],
        [_mount("cache", CACHE_PATH)],
        [_fetcher(model, settings, container)],
    )


def image_reference(model: ResolvedModel) -> str:
    """Return the image of an oci:// model."""
    if model.revision is None:
        return model.location
    separator = "@" if model.revision.startswith("sha256:") else ":"
    return f"{model.location}{separator}{model.revision}"


def link_name(model: ResolvedModel) -> str:
    """Return the name under which a fetched model is found in the cache: one for each uri and revision."""
    return hashlib.sha256(f"{model.uri}@{model.revision or ''}".encode()).hexdigest()[:16]


def _fetcher(model: ResolvedModel, settings: Settings, container: Mapping[str, Any]) -> dict[str, Any]:
    env: list[dict[str, Any]] = [{"name": "HOME", "value": "/tmp"}]  # noqa: S108
    env += [{"name": name, "value": value} for name, value in settings.fetch_environment.items()]
    if model.credentials_secret:
        taken = SECRET_KEYS[model.scheme]
        env = [one for one in env if one["name"] not in taken]
        for name in taken:
            reference = {"name": model.credentials_secret, "key": name, "optional": name != taken[0]}
            env.append({"name": name, "valueFrom": {"secretKeyRef": reference}})
    revision = ("--revision", model.revision) if model.revision else ()
    return {
        **container,
        "name": FETCHER,
        "image": settings.model_server_image,
        "command": ["springtide-model-fetch"],
        "args": ["--uri", model.uri, *revision, "--cache", CACHE_PATH, "--link", link_name(model)],
        "env": env,
        "volumeMounts": [{"name": "cache", "mountPath": CACHE_PATH}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }


def _mount(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "mountPath": path, "readOnly": True}
