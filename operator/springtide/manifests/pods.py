"""The pod of a pool: one container that serves the model, under the *restricted* Pod Security Standard."""

from typing import Any

from springtide.api.modelservice import ModelService
from springtide.manifests.names import ONLINE_LABEL, POOL_LABEL, pool_selector, service_labels
from springtide.manifests.resolve import ResolvedPool
from springtide.manifests.settings import Settings

CONTAINER = "model-server"
PORT = 8000
MODEL_PATH = "/models/model"
PACKAGES_PATH = "/opt/packages"
USER = 65532

# Once told to stop, the server is not ready at once, serves until every node's rules have learnt that (5 s), and has
# another 25 s for the requests in flight.
GRACE_SECONDS = 40


def pod_template(service: ModelService, pool: ResolvedPool, settings: Settings) -> dict[str, Any]:
    """Return the pod template of a pool."""
    labels = service_labels(service) | {POOL_LABEL: pool.name}
    if pool.online:
        labels[ONLINE_LABEL] = "true"
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [_spread(service.metadata.name, pool.name)],
        "containers": [_container(service, pool, settings)],
        "volumes": _volumes(pool, settings),
    }
    if pool.node_selector:
        spec["nodeSelector"] = dict(pool.node_selector)
    return {"metadata": {"labels": labels}, "spec": spec}


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


def _container(service: ModelService, pool: ResolvedPool, settings: Settings) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": pool.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["springtide-model-server"],
        "args": [
            *("--model", MODEL_PATH),
            *("--served-model-name", service.metadata.name),
            *("--task", pool.task),
            *("--port", str(PORT)),
            *pool.args,
        ],
        # The root is read-only, so libraries that keep caches under the home directory need another one.
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        # A large model may take half an hour to load; until then liveness is not asked.
        "startupProbe": _probe("/readyz", period=2, failures=900),
        "readinessProbe": _probe("/readyz", period=2, failures=3),
        "livenessProbe": _probe("/healthz", period=10, failures=3),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The last lines of the log become the message of a crash, which the status of the ModelService repeats.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "model", "mountPath": MODEL_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
    resources = {
        kind: {name: str(amount) for name, amount in amounts.items()}
        for kind, amounts in (("requests", pool.requests), ("limits", pool.limits))
        if amounts
    }
    if resources:
        container["resources"] = resources
    if settings.packages_claim:
        container["env"].append({"name": "PYTHONPATH", "value": PACKAGES_PATH})
        container["volumeMounts"].append({"name": "packages", "mountPath": PACKAGES_PATH, "readOnly": True})
    return container


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _volumes(pool: ResolvedPool, settings: Settings) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"name": "model", "image": {"reference": pool.model_reference, "pullPolicy": "IfNotPresent"}},
        {"name": "tmp", "emptyDir": {}},
    ]
    if settings.packages_claim:
        claim = {"claimName": settings.packages_claim, "readOnly": True}
        volumes.append({"name": "packages", "persistentVolumeClaim": claim})
    return volumes
