"""What the operator was installed with and what its manifests depend on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """The operator's settings that show in child objects.

    `packages_claim` names a PersistentVolumeClaim that must exist in the namespace of each ModelService. It is mounted
    read-only at /opt/packages and put on PYTHONPATH: PyTorch takes 5 GB, and a cluster may keep it on a volume
    rather than in the image of the model server.
    """

    model_server_image: str
    image_pull_policy: str = "IfNotPresent"
    packages_claim: str | None = None
