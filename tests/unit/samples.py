"""ModelServices for the tests of pure code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from springtide.api.modelservice import ModelService
from springtide.manifests.build import build
from springtide.manifests.revisions import Record, plan_pools
from springtide.manifests.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = Settings(model_server_image="springtide/model-server:0.1.0")


def model_service(
    spec: dict[str, Any] | None = None, *, name: str = "chat", generation: int = 3, restarted_at: str = ""
) -> ModelService:
    spec = spec or {
        "model": {"uri": "oci://registry.example.com/models/chat:v1"},
        "pools": [{"name": "cpu", "resources": {"limits": {"memory": "2Gi"}}}],
    }
    metadata = {
        "name": name,
        "namespace": "team-a",
        "uid": "11111111-2222",
        "generation": generation,
        "restartedAt": restarted_at,
    }
    return ModelService.model_validate({"metadata": metadata, "spec": spec})


def example(path: Path) -> ModelService:
    written = yaml.safe_load(path.read_text())
    return model_service(written["spec"], name=written["metadata"]["name"])


def children_of(
    service: ModelService, settings: Settings = SETTINGS, records: Sequence[Record] = ()
) -> list[dict[str, Any]]:
    return build(service, plan_pools(service, settings, records), settings, records)
