"""The options that show in child objects: those of the operator, and of `springtide explain`."""

import argparse
import re
from pathlib import Path

from springtide.api.runtime import RuntimeName
from springtide.manifests.settings import Settings

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_RUNTIMES: dict[RuntimeName, str] = {"VLLM": "vllm_image", "SGLang": "sglang_image"}

SETTINGS_VARIABLES = {
    "SPRINGTIDE_MODEL_SERVER_IMAGE": "--model-server-image",
    "SPRINGTIDE_VLLM_IMAGE": "--vllm-image",
    "SPRINGTIDE_SGLANG_IMAGE": "--sglang-image",
    "SPRINGTIDE_IMAGE_PULL_POLICY": "--image-pull-policy",
    "SPRINGTIDE_PACKAGES_CLAIM": "--packages-claim",
    "SPRINGTIDE_NETWORK_POLICIES": "--network-policies",
}


def add_settings(parser: argparse.ArgumentParser, *, default_images: bool) -> None:
    """Add the options; with default images, none has to be given, since they stand for unknown ones."""
    add = parser.add_argument
    add(
        "--model-server-image",
        required=not default_images,
        default="springtide/model-server" if default_images else None,
        help="image of pods whose ModelService names none, and of the container that fetches models "
        "[SPRINGTIDE_MODEL_SERVER_IMAGE]",
    )
    for name, option in _RUNTIMES.items():
        add(
            f"--{option.replace('_', '-')}",
            default=f"springtide/{name.lower()}" if default_images else None,
            help=f"image of runtime {name} where none is named; without it, each must name one "
            f"[SPRINGTIDE_{option.upper()}]",
        )
    add(
        "--image-pull-policy",
        default="IfNotPresent",
        choices=["Always", "IfNotPresent", "Never"],
        help="for images of pods; default: %(default)s [SPRINGTIDE_IMAGE_PULL_POLICY]",
    )
    add(
        "--packages-claim",
        help="PersistentVolumeClaim with Python packages that every pod of ModelServer mounts at /opt/packages, for "
        "clusters that keep PyTorch outside the image; must exist in each namespace [SPRINGTIDE_PACKAGES_CLAIM]",
    )
    add(
        "--fetch-env",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME=VALUE",
        help="variable for the container that fetches models, such as HF_ENDPOINT or HTTPS_PROXY; may be repeated",
    )
    add(
        "--network-policies",
        default="true",
        choices=["true", "false"],
        help="whether each ModelService gets a NetworkPolicy; default: %(default)s [SPRINGTIDE_NETWORK_POLICIES]",
    )
    add(
        "--metrics-namespace",
        action="append",
        default=[],
        metavar="NAMESPACE",
        help="namespace from which Prometheus may reach the model servers; may be repeated",
    )


def settings_of(parsed: argparse.Namespace) -> Settings:
    """Return the settings that were given."""
    images = {name: getattr(parsed, option) for name, option in _RUNTIMES.items() if getattr(parsed, option)}
    return Settings(
        model_server_image=parsed.model_server_image,
        image_pull_policy=parsed.image_pull_policy,
        packages_claim=parsed.packages_claim or None,
        images=images,
        fetch_environment=dict(parsed.fetch_env),
        metrics_namespaces=tuple(parsed.metrics_namespace),
        network_policies=parsed.network_policies == "true",
        namespace=_POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.exists() else "",
    )


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
