"""The pod of a pool: one container that serves the model, under the *restricted* Pod Security Standard."""

from collections.abc import Mapping
from typing import Any

from springtide.api.modelservice import ModelService
from springtide.api.quantity import canonical
from springtide.manifests.delivery import Delivery, deliver
from springtide.manifests.names import (
    ONLINE_LABEL,
    REVISION_LABEL,
    account_name,
    policy_name,
    pool_labels,
    pool_selector,
)
from springtide.manifests.resolve import ResolvedPool
from springtide.manifests.runtimes import POLICY_FOLDER, ROUTE_SECONDS
from springtide.manifests.settings import Settings

CONTAINER = "model-server"
PACKAGES_PATH = "/opt/packages"
USER = 65532

_STARTUP_PERIOD = 2
# Beyond the drain: for the server to end, and for the kubelet to be late.
_SPARE_SECONDS = 10


def pod_template(service: ModelService, pool: ResolvedPool, revision: str, settings: Settings) -> dict[str, Any]:
    """Return the pod template of a pool's revision."""
    labels = pool_labels(service, pool.name) | {REVISION_LABEL: revision}
    if pool.online:
        labels[ONLINE_LABEL] = "true"
    common = {
        "imagePullPolicy": settings.image_pull_policy,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The last lines of the log become the message of a crash, which the status of the ModelService repeats.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    delivery = deliver(service, pool, settings, common | _resources(pool.requests, pool.limits))
    spec: dict[str, Any] = {
        "serviceAccountName": account_name(service.metadata.name),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ROUTE_SECONDS + pool.runtime.drain_seconds + _SPARE_SECONDS,
        "securityContext": _security(pool),
        "topologySpreadConstraints": [_spread(service.metadata.name, pool.name)],
        "containers": [common | _server(service.metadata.name, pool, delivery, settings)],
        "volumes": _volumes(service.metadata.name, pool, delivery, settings),
    }
    if delivery.init_containers:
        spec["initContainers"] = delivery.init_containers
    if delivery.pull_secrets:
        spec["imagePullSecrets"] = delivery.pull_secrets
    if pool.accelerator:
        # As the admission plugin ExtendedResourceToleration does where it is on.
        spec["tolerations"] = [{"key": pool.accelerator.resource_name, "operator": "Exists", "effect": "NoSchedule"}]
    if pool.node_selector:
        spec["nodeSelector"] = dict(pool.node_selector)
    return {"metadata": {"labels": labels, "annotations": _metrics(pool)}, "spec": spec}


def _metrics(pool: ResolvedPool) -> dict[str, str]:
    # Read by the scrape configuration that Prometheus' own chart has for pods.
    port, path = str(pool.runtime.port), pool.runtime.metrics_path
    return {"prometheus.io/scrape": "true", "prometheus.io/port": port, "prometheus.io/path": path}


def _security(pool: ResolvedPool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if pool.cache_claim:
        made |= {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    return made


def _spread(service: str, pool: str) -> dict[str, Any]:
    # ScheduleAnyway: among nodes that fit, the emptier one outweighs the scheduler's other preferences, so two replicas
    # use two equal nodes; yet a pool may still pile up where only one node has the hardware, rather than wait for ever.
    # The hash makes each revision spread by itself: the pods that a rollout is about to remove don't count.
    return {
        "topologyKey": "kubernetes.io/hostname",
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": pool_selector(service, pool)},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _server(service: str, pool: ResolvedPool, delivery: Delivery, settings: Settings) -> dict[str, Any]:
    runtime = pool.runtime
    accelerators = {pool.accelerator.resource_name: pool.accelerator.count} if pool.accelerator else {}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": runtime.image,
        "env": _environment(service, pool, delivery, settings),
        "ports": [{"name": "http", "containerPort": runtime.port, "protocol": "TCP"}],
        # Liveness is not asked before the model is loaded.
        "startupProbe": _probe(
            runtime.readiness_path, period=_STARTUP_PERIOD, failures=-(-runtime.startup_seconds // _STARTUP_PERIOD)
        ),
        "readinessProbe": _probe(runtime.readiness_path, period=2, failures=3),
        "livenessProbe": _probe(runtime.liveness_path, period=10, failures=3),
        "volumeMounts": [*delivery.mounts, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
        **_resources(pool.requests, {**pool.limits, **accelerators}),
    }
    # What is empty is left out, as the API server leaves it out: else no comparison would ever find them equal.
    if runtime.command:
        container["command"] = list(runtime.command)
    if runtime.args:
        container["args"] = list(runtime.args)
    if not pool.profile.stays:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": ROUTE_SECONDS}}}
    if pool.profile.takes_policy:
        container["volumeMounts"].append({"name": "policy", "mountPath": POLICY_FOLDER, "readOnly": True})
    if pool.profile.shared_memory:
        container["volumeMounts"].append({"name": "shared-memory", "mountPath": "/dev/shm"})  # noqa: S108
    if _with_packages(pool, settings):
        container["volumeMounts"].append({"name": "packages", "mountPath": PACKAGES_PATH, "readOnly": True})
    return container


def _environment(service: str, pool: ResolvedPool, delivery: Delivery, settings: Settings) -> list[dict[str, Any]]:
    # First what arguments and later variables may refer to.
    known = {
        "MODEL_PATH": delivery.path,
        "MODEL_NAME": service,
        "PORT": str(pool.runtime.port),
        "ACCELERATORS": str(pool.accelerator.count if pool.accelerator else 0),
        "DRAIN_SECONDS": str(pool.runtime.drain_seconds),
    }
    if _with_packages(pool, settings):
        known["PYTHONPATH"] = PACKAGES_PATH
    named = {**known, **pool.runtime.env}
    return [{"name": name, **({"value": value} if value else {})} for name, value in named.items()]


def _with_packages(pool: ResolvedPool, settings: Settings) -> bool:
    return settings.packages_claim is not None and pool.runtime.name == "ModelServer"


def _resources(requests: Mapping[str, int | str], limits: Mapping[str, int | str]) -> dict[str, Any]:
    made = {
        kind: {name: canonical(amount, places=3) for name, amount in amounts.items()}
        for kind, amounts in (("requests", requests), ("limits", limits))
        if amounts
    }
    return {"resources": made} if made else {}


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _volumes(service: str, pool: ResolvedPool, delivery: Delivery, settings: Settings) -> list[dict[str, Any]]:
    volumes = [*delivery.volumes, {"name": "tmp", "emptyDir": {}}]
    if pool.profile.takes_policy:
        # There whether or not anything is said, so that no pod has to restart when it is. Nobody waits for it.
        volumes.append({"name": "policy", "configMap": {"name": policy_name(service), "optional": True}})
    if pool.profile.shared_memory:
        volumes.append({"name": "shared-memory", "emptyDir": {"medium": "Memory"}})
    if _with_packages(pool, settings):
        claim = {"claimName": settings.packages_claim, "readOnly": True}
        volumes.append({"name": "packages", "persistentVolumeClaim": claim})
    return volumes
