"""No field of a spec is silent: each one, found in the schema, changes a child object.

The table has an edit for each leaf of the schema, or a reason why it acts elsewhere. A field without either fails here.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from springtide.api.crd import modelservice_crd, trafficforecast_crd
from springtide.api.time import unix_seconds
from springtide.api.trafficforecast import FORECASTER
from springtide.manifests.settings import Settings
from springtide.scaling.forecasts import read_forecasts
from tests.unit.forecast_specs import announcement, quantile, series, stated
from tests.unit.samples import children_of, model_service

SETTINGS = Settings("model-server:1", images={"VLLM": "vllm:1", "SGLang": "sglang:1"})
BASE: dict[str, Any] = {
    "model": {"uri": "hf://org/model", "revision": "v1", "credentialsSecretName": "token"},
    "runtime": {"image": "server:1", "env": [{"name": "A", "value": "a"}]},
    "cache": {"claimName": "models"},
    "pools": [
        {
            "name": "cpu",
            "model": {"revision": "v2"},
            "accelerator": {"type": "DevicePlugin", "resourceName": "nvidia.com/gpu", "count": 1},
            "runtime": {"env": [{"name": "B", "value": "b"}]},
        }
    ],
}
# Where the base has a value of a pool, the general one is tried without that.
GENERAL = copy.deepcopy(BASE)
del GENERAL["pools"][0]["runtime"], GENERAL["pools"][0]["model"]

RUNTIME: dict[str, Any] = {
    "name": "VLLM",
    "image": "server:2",
    "command": ["serve"],
    "args": ["--verbose"],
    "env[].name": "C",
    "env[].value": "c",
    "port": 9000,
    "readinessPath": "/ready",
    "livenessPath": "/live",
    "metricsPath": "/stats",
    "startupSeconds": 60,
    "drainSeconds": 60,
}
EDITS: dict[str, Any] = {
    "model.uri": "hf://org/other",
    "model.revision": "v3",
    "model.task": "Embed",
    "model.credentialsSecretName": "other",
    "precision": "BF16",
    **{f"runtime.{field}": value for field, value in RUNTIME.items()},
    "cache.claimName": "others",
    "replicas": 3,
    "batching.maxBatchSize": 8,
    "batching.maxQueueDelayMilliseconds": 8,
    "batching.targetMemoryPercent": 8,
    "priorities[].name": "gold",
    "priorities[].reservedPercent": 8,
    "priorities[].sheddable": True,
    "pools[].name": "gpu",
    "pools[].tier": "Fallback",
    "pools[].model.uri": "hf://org/small",
    "pools[].model.revision": "v3",
    "pools[].model.credentialsSecretName": "other",
    "pools[].precision": "BF16",
    **{f"pools[].runtime.{field}": value for field, value in RUNTIME.items()},
    "pools[].accelerator.resourceName": "amd.com/gpu",
    "pools[].accelerator.count": 2,
    "pools[].resources.requests": {"cpu": "1"},
    "pools[].resources.limits": {"cpu": "1"},
    "pools[].replicas.min": 2,
    "pools[].update.maxSurge": 2,
    "pools[].update.maxUnavailable": 2,
    "pools[].nodeSelector": {"zone": "a"},
}
SCALING = (
    "pools[].capacity.requestsPerSecond",
    "pools[].costPerHour",
    "objectives.latencyP99Milliseconds",
    "objectives.timeToFirstTokenP99Milliseconds",
    "objectives.attainmentPercent",
    "scaling.mode",
    "scaling.forecast",
    "scaling.costOfShortage",
    "scaling.scaleDownStabilizationSeconds",
    "scaling.schedules[].name",
    "scaling.schedules[].pool",
    "scaling.schedules[].timezone",
    "scaling.schedules[].days",
    "scaling.schedules[].start",
    "scaling.schedules[].end",
    "scaling.schedules[].minReplicas",
)
ELSEWHERE = {
    "pools[].replicas.max": "admission refuses spec.replicas beyond it (tests/unit/specs.py)",
    "pools[].accelerator.type": "has one value so far",
    **dict.fromkeys(SCALING, "scaling decides by it (tests/unit/scaling/test_resolve.py)"),
}


def leaves(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Return the paths of a schema's leaves; a map of any keys is one, and so is a list of scalars."""
    if schema.get("type") == "array" and "properties" in schema["items"]:
        yield from leaves(schema["items"], f"{path}[]")
    elif "properties" in schema:
        for name, child in schema["properties"].items():
            yield from leaves(child, f"{path}.{name}" if path else name)
    else:
        yield path


SPEC = modelservice_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]


FORECAST = trafficforecast_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
SERIES = series(quantile(500, *[1000] * 20), issuedAt="2026-12-01T19:50:00Z")
# What another value of a field of a TrafficForecast changes: a series, or a launch.
SAID: dict[str, tuple[dict[str, Any], Any]] = {
    "series.issuedAt": (SERIES, "2026-12-01T19:40:00Z"),
    "series.startsAt": (SERIES, "2026-12-01T19:51:00Z"),
    "series.producer": (SERIES, FORECASTER),
    "series.quantiles[].thousandths": (SERIES, 900),
    "series.quantiles[].milliRequestsPerSecond": (SERIES, [1500] * 20),
    "announcement.startsAt": (announcement(multiplier=8), "2026-12-01T20:30:00Z"),
    "announcement.endsAt": (announcement(multiplier=8), "2026-12-01T20:30:00Z"),
    "announcement.multiplier": (announcement(multiplier=8), 9),
    "announcement.requestsPerSecond": (announcement(requestsPerSecond=8), 9),
}


def test_every_field_of_a_forecast_is_in_a_table() -> None:
    # What serviceName does is tested with the API server (tests/api/test_forecasts.py).
    assert set(leaves(FORECAST)) == {"serviceName", *SAID}


@pytest.mark.parametrize("path", SAID)
def test_a_field_of_a_forecast_acts(path: str) -> None:
    base, value = SAID[path]
    spec = copy.deepcopy(base)
    *parents, last = path.replace("[]", ".0").split(".")
    at: Any = spec
    for name in parents:
        at = at[int(name)] if name.isdigit() else at[name]
    at[last] = value
    now = unix_seconds("2026-12-01T19:55:00Z")
    # The other two are of our forecaster, one before and one after, and could be read instead.
    issued = [f"2026-12-01T19:{minute}:00Z" for minute in (45, 52)]
    ours = [stated(at, **series(quantile(500, *[2000] * 20), producer=FORECASTER, issuedAt=at)) for at in issued]
    found = [read_forecasts([*ours, stated("own", **one)], now, 40.0, (60.0, 600.0)) for one in (base, spec)]
    assert found[0] != found[1]


def edited(path: str, value: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    base = BASE if path.startswith("pools[]") else GENERAL
    if path.startswith("priorities[]"):
        base = GENERAL | {"priorities": [{"name": "silver"}]}
    spec = copy.deepcopy(base)
    *parents, last = path.replace("[]", ".0").split(".")
    at: Any = spec
    for name in parents:
        at = at[int(name)] if name.isdigit() else at.setdefault(name, {})
    at[last] = value
    return base, spec


def test_the_table_has_every_field() -> None:
    assert set(leaves(SPEC)) == EDITS.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("path", EDITS)
def test_a_field_acts(path: str) -> None:
    base, spec = edited(path, EDITS[path])

    def shown(one: dict[str, Any]) -> str:
        children = [
            child for child in children_of(model_service(one), SETTINGS) if child["kind"] != "ControllerRevision"
        ]
        text = str(children)
        for child in children:
            if revision := child["metadata"]["labels"].get("springtide.dev/revision"):
                text = text.replace(revision, "REVISION")
        return text

    assert shown(base) != shown(spec), f"{path} changes nothing but the name of the revision"
