"""What a ModelService says about its scaling."""

from math import isnan
from typing import Any

from springtide.scaling.resolve import scaling_settings
from springtide.scaling.schedules import Schedule
from springtide.scaling.settings import PoolLimits, ScalingSettings
from tests.unit.samples import model_service

MODEL = {"uri": "oci://registry.example.com/models/chat:v1"}


def resolved(**spec: Any) -> ScalingSettings:
    return scaling_settings(model_service({"model": MODEL, "pools": [{"name": "gpu"}]} | spec))


def test_defaults() -> None:
    settings = resolved()
    (pool,) = settings.pools
    assert (pool.name, pool.least, pool.most, pool.fallback) == ("gpu", 1, 1, False)
    assert isnan(pool.cost)
    assert isnan(pool.prior)
    assert (settings.mode, settings.forecast, settings.stabilization_seconds) == ("Auto", "Auto", 600)
    assert round(settings.level) == 909
    assert (settings.wait_seconds, settings.attainment, settings.schedules) == (5.0, 0.99, ())
    assert isnan(settings.latency_seconds)


def test_everything_that_is_written_is_read() -> None:
    settings = resolved(
        pools=[
            {
                "name": "gpu",
                "replicas": {"min": 2, "max": 40},
                "capacity": {"requestsPerSecond": "1500m"},
                "costPerHour": "12.50",
            },
            {"name": "batch", "tier": "Offline"},
            {"name": "cpu", "tier": "Fallback"},
        ],
        objectives={"latencyP99Milliseconds": 500, "attainmentPercent": "99.9"},
        scaling={
            "mode": "Observe",
            "forecast": "Off",
            "costOfShortage": "3",
            "scaleDownStabilizationSeconds": 60,
            "schedules": [
                {"name": "night", "timezone": "Europe/Berlin", "days": ["Friday"], "start": "22:00", "end": "06:00"}
                | {"minReplicas": 4},
                {"name": "noon", "pool": "cpu", "start": "12:00", "end": "13:30", "minReplicas": 2},
            ],
        },
    )
    first, fallback = settings.pools
    assert first == PoolLimits("gpu", 2, 40, 12.5, 1.5)
    assert (fallback.name, fallback.fallback) == ("cpu", True)
    assert (settings.mode, settings.forecast, settings.stabilization_seconds) == ("Observe", "Off", 60)
    assert settings.level == 750
    assert (settings.wait_seconds, settings.latency_seconds, settings.attainment) == (0.5, 0.5, 0.999)
    assert settings.schedules == (
        Schedule("night", "gpu", "Europe/Berlin", (4,), 1320, 360, 4),
        Schedule("noon", "cpu", "UTC", (0, 1, 2, 3, 4, 5, 6), 720, 810, 2),
    )


def test_the_first_token_goes_before_the_whole_latency() -> None:
    objectives = {"latencyP99Milliseconds": 5000, "timeToFirstTokenP99Milliseconds": 300}
    assert resolved(objectives=objectives).latency_seconds == 0.3


def test_a_pin_is_both_limits_of_the_first_pool() -> None:
    settings = resolved(replicas=0, pools=[{"name": "gpu", "replicas": {"max": 4}}, {"name": "cpu"}])
    assert [(pool.least, pool.most) for pool in settings.pools] == [(0, 0), (1, 1)]
    assert settings.pinned == "gpu"
