"""`springtide explain`: what the operator makes of a ModelService or a TrafficForecast, defaults included."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from math import isnan, nan
from typing import Any

import yaml
from pydantic import BaseModel

from springtide.api.modelservice import ModelService
from springtide.api.trafficforecast import TrafficForecast
from springtide.cli.validate import Found, look
from springtide.manifests.build import build
from springtide.manifests.revisions import plan_pools
from springtide.manifests.services import service_url
from springtide.manifests.settings import Settings
from springtide.scaling.statements import statement


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def explain(files: Sequence[str], settings: Settings, *, manifests: bool) -> int:
    """Print a YAML document for each object, or for each child object; return 1 when a file is not valid."""
    wrong = False
    for file in files:
        for found in look(file):
            for line, problem in found.problems:
                print(f"{file}:{line}: {problem}", file=sys.stderr)
            wrong = wrong or bool(found.problems)
            for document in _shown(found, settings, manifests=manifests):
                print("---")
                print(yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120), end="")
    return int(wrong)


def _shown(found: Found, settings: Settings, *, manifests: bool) -> list[dict[str, Any]]:
    if isinstance(found.valid, TrafficForecast):
        # It has no child objects.
        return [] if manifests else [told(found.valid)]
    if found.service is None:
        return []
    return _children(found.service, settings) if manifests else [resolved(found.service, settings)]


def told(forecast: TrafficForecast) -> dict[str, Any]:
    """Return what a TrafficForecast says; rates are in requests a second."""
    said = statement(forecast.metadata.name, nan, forecast.spec)
    shown: dict[str, Any] = {
        "name": forecast.metadata.name,
        "namespace": forecast.metadata.namespace,
        "service": forecast.spec.service_name,
    }
    if said.outlook is not None:
        rates = [dict(zip(said.outlook.levels, step, strict=True)) for step in said.outlook.rates]
        return shown | {"producer": said.producer, **_period(said.outlook.issued, said.outlook.until), "rates": rates}
    if said.launch is not None:
        size = {"times": said.launch.times} if isnan(said.launch.rate) else {"rate": said.launch.rate}
        return shown | _period(said.launch.start, said.launch.end) | size
    return shown


def _period(start: float, end: float) -> dict[str, str]:
    return {name: datetime.fromtimestamp(one, UTC).isoformat() for name, one in (("from", start), ("until", end))}


def resolved(service: ModelService, settings: Settings) -> dict[str, Any]:
    """Return what each pool runs."""
    plans = plan_pools(service, settings)
    pools = [{"revision": plan.revision, **asdict(plan.pool)} for plan in plans]
    return {
        "name": service.metadata.name,
        "namespace": service.metadata.namespace,
        "url": service_url(service),
        "pools": [_plain(pool) for pool in pools],
    }


def _children(service: ModelService, settings: Settings) -> list[dict[str, Any]]:
    children = build(service, plan_pools(service, settings), settings)
    for child in children:
        # The owner has no uid before it exists, and an API server refuses a reference without one.
        del child["metadata"]["ownerReferences"]
    return children


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    if isinstance(value, dict):
        # Environment variables and resources keep their names.
        return {key if key.isupper() or "/" in key else _camel(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
