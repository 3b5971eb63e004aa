"""What the operator was installed with and what its manifests depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from springtide.api.runtime import RuntimeName


@dataclass(frozen=True)
class Settings:
    """The operator's settings that show in child objects.

    `packages_claim` names a PersistentVolumeClaim that must exist in the namespace of each ModelService. It is mounted
    read-only at /opt/packages and put on PYTHONPATH: PyTorch takes 5 GB, and a cluster may keep it on a volume
    rather than in the image of the model server.

    `images` are those of the other runtimes. `fetch_environment` is for the container that fetches models, as for a
    proxy or a mirror. `namespace` is where the operator runs; empty outside a cluster. From
    `metrics_namespaces` Prometheus reads the metrics of model servers.
    """

    model_server_image: str
    image_pull_policy: str = "IfNotPresent"
    packages_claim: str | None = None
    images: Mapping[RuntimeName, str] = field(default_factory=dict)
    fetch_environment: Mapping[str, str] = field(default_factory=dict)
    network_policies: bool = True
    metrics_namespaces: tuple[str, ...] = ()
    namespace: str = ""

    def image_of(self, runtime: RuntimeName) -> str | None:
        """Return the image of a runtime; None when it has to be named."""
        return self.model_server_image if runtime == "ModelServer" else self.images.get(runtime)
