"""Replicas follow traffic on real nodes, and come before it where a forecast says so."""

from __future__ import annotations

import pytest

from hack.bench import surge
from hack.cluster.spec import Spec
from hack.demo import scaling

from .support import NAMESPACE, condition, delete, get

pytestmark = pytest.mark.usefixtures("examples")


def test_one_more_replica_answers_when_traffic_doubles(demo: Spec) -> None:
    seconds = surge.one(demo, "surge")
    assert 0 <= seconds["pod_made"] <= seconds["ready"] <= seconds["answered"]


def test_the_target_rises_before_the_traffic_does(demo: Spec) -> None:
    name = "morning"
    try:
        ahead, report = scaling.foresee(demo, NAMESPACE, name)
        assert ahead > 0
        assert report["requests"]["failed"] == 0, report["details"]
        assert condition(demo, name, "ForecastReady")["reason"] == "Used"
        assert get(demo, "trafficforecast", name)["spec"]["series"]["producer"] == "springtide-forecaster"
        pool = get(demo, "modelservice", name)["status"]["pools"][0]
        assert pool["desired"] >= 2
    finally:
        delete(demo, name)
