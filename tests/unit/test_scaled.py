"""What a status tells of scaling."""

from dataclasses import replace
from math import nan
from typing import Any

import pytest

from springtide.api.conditions import ModelServiceStatus
from springtide.manifests.revisions import plan_pools
from springtide.scaling.decide import Decision
from springtide.scaling.resolve import scaling_settings
from springtide.scaling.state import begin, lessons, resume
from springtide.scaling.tuning import TUNING
from springtide.status.compute import compute_status
from springtide.status.events import notes
from springtide.status.observed import ObservedDeployment, ObservedPod
from springtide.status.scaled import Scaled
from tests.unit.samples import SETTINGS, model_service

NOW = "2026-01-01T00:00:00Z"
MODEL = {"model": {"uri": "oci://r.example/m:v1"}}
SPEC = MODEL | {"pools": [{"name": "cpu", "replicas": {"min": 1, "max": 9}}]}
FIXED = MODEL | {"pools": [{"name": "cpu"}]}
STATE = begin(0.0, 0.99, TUNING)


def decision(target: int = 3, reason: str = "Steady", **more: Any) -> Decision:
    inputs = {"rate": 12.5, "queue": nan}
    return replace(Decision({"cpu": target}, {"cpu": target}, reason, "because", inputs, STATE), **more)


def status(
    made: Decision,
    spec: dict[str, Any] | None = None,
    previous: dict[str, Any] | None = None,
    ready: int = 3,
    now: float = 0.0,
    **more: Any,
) -> dict[str, Any]:
    service = model_service(spec or SPEC)
    plans = plan_pools(service, SETTINGS, (), made.targets)
    deployment = ObservedDeployment(replicas=ready, ready=ready, updated=ready, available=ready)
    pods = [ObservedPod(f"chat-cpu-{n}", "cpu", online=True, ready=True) for n in range(ready)]
    scaled = Scaled(made, scaling_settings(service), now=now, **more)
    told = compute_status(service, plans, {"cpu": deployment}, pods, None, previous or {}, NOW, scaled=scaled)
    ModelServiceStatus.model_validate(told)
    return told


def condition(told: dict[str, Any], kind: str = "Scaled") -> tuple[str, str]:
    return next((one["status"], one["reason"]) for one in told["conditions"] if one["type"] == kind)


def test_the_target_is_reached_or_not() -> None:
    assert condition(status(decision(3))) == ("True", "TargetReached")
    told = status(decision(5))
    assert condition(told) == ("False", "Scaling")
    assert told["pools"][0]["desired"] == told["targetReplicas"] == 5


def test_limits_and_missing_metrics_are_told() -> None:
    assert condition(status(decision(9, "AtLimit", shortage=3.0))) == ("False", "AtLimit")
    told = status(decision(3, "MetricsStale"), trouble="Prometheus: Unreachable")
    assert condition(told) == ("Unknown", "MetricsStale")
    text = next(one["message"] for one in told["conditions"] if one["type"] == "Scaled")
    assert text == "Prometheus: Unreachable; replicas are held"
    assert condition(told, "ForecastReady") == ("Unknown", "MetricsStale")


def test_what_does_not_scale_says_so() -> None:
    assert condition(status(decision(1), FIXED, ready=1)) == ("True", "Fixed")
    assert condition(status(decision(3), SPEC | {"scaling": {"mode": "Off"}})) == ("True", "Off")
    assert condition(status(decision(3), SPEC | {"replicas": 3})) == ("True", "Pinned")
    assert "scaling" not in status(decision(1), FIXED, ready=1)
    types = [one["type"] for one in status(decision(1), FIXED, ready=1)["conditions"]]
    assert "ForecastReady" not in types


def test_the_forecast_is_told() -> None:
    assert condition(status(decision()), "ForecastReady") == ("True", "Used")
    told = status(decision(doubt="there is no forecast"))
    assert condition(told, "ForecastReady") == ("False", "NoForecast")
    told = status(decision(doubt="the forecast has 9.0 requests a second for now, 2.0 were measured"))
    assert condition(told, "ForecastReady") == ("False", "NotBelieved")
    again = status(decision(doubt="the forecast has 9.1 requests a second for now, 2.1 were measured"), previous=told)
    assert again["conditions"] == told["conditions"], "numbers of the moment are no reason to write"


def test_a_decision_is_recorded_when_the_target_changes() -> None:
    before = status(decision(3))
    assert "decisions" not in before["scaling"], "nothing was there before, so nothing changed"
    after = status(decision(5, "LoadRises"), previous=before)
    (made,) = after["scaling"]["decisions"]
    assert made["pools"] == [{"name": "cpu", "before": 3, "after": 5}]
    assert made["inputs"] == [{"name": "rate", "value": "12.5"}], "what is no number is left out"
    assert [(one.reason, one.text) for one in notes(before, after)] == [
        ("LoadRises", "scales cpu 3 → 5: because"),
    ]
    assert status(decision(5, "Steady"), previous=after)["scaling"] == after["scaling"]


def test_only_the_last_ten_decisions_stay() -> None:
    told = status(decision(1))
    for number in range(2, 15):
        for one in told["scaling"].get("decisions", ()):
            one["time"] = f"2025-01-01T00:00:{number:02}Z" if one["time"] == NOW else one["time"]
        told = status(decision(number % 9 + 1, "LoadRises"), previous=told)
    assert len(told["scaling"]["decisions"]) == 10


def test_observing_recommends_and_leaves_the_target() -> None:
    spec = SPEC | {"scaling": {"mode": "Observe"}}
    made = replace(decision(3, "LoadRises"), wanted={"cpu": 7})
    before = status(decision(3), spec)
    told = status(made, spec, previous=before)
    assert (told["pools"][0]["desired"], told["pools"][0]["recommended"]) == (3, 7)
    (recorded,) = told["scaling"]["decisions"]
    assert (recorded["mode"], recorded["pools"]) == ("Observe", [{"name": "cpu", "before": 3, "after": 7}])
    assert status(made, spec, previous=told)["scaling"] == told["scaling"]
    assert notes(before, told)[0].text == "would scale cpu 3 → 7: because"


def test_what_was_learned_is_written_every_ten_minutes_and_read_again() -> None:
    first = status(decision())
    learned = replace(STATE, safety=replace(STATE.safety, factor=-0.5, load=42.0))
    begun = 1767225600.0  # NOW
    assert status(decision(state=learned), previous=first, now=begun + 599)["scaling"] == first["scaling"]
    assert status(decision(), previous=first, now=begun + 6000)["scaling"] == first["scaling"], "nothing was learned"
    told = status(decision(state=learned), previous=first, now=begun + 600)["scaling"]
    values = {one["name"]: float(one["value"]) for one in told["learned"]}
    assert lessons(resume(5.0, values, TUNING)) == pytest.approx(lessons(learned))
    assert resume(5.0, values, TUNING).since == 5.0, "nothing goes down before a whole window was seen"
    assert resume(5.0, {"load": nan, "volatilityFast": -1.0}, TUNING) == begin(5.0, 0.99, TUNING)


def test_measures_of_a_pool_are_written_when_they_move() -> None:
    told = status(decision(), capacities={"cpu": 2.0}, starts={"cpu": (41.2, 60.0)})
    assert (told["pools"][0]["capacity"], told["pools"][0]["readySeconds"]) == ("2", {"p50": 41, "p95": 60})
    assert status(decision(), previous=told, capacities={"cpu": 2.09})["pools"][0]["capacity"] == "2"
    assert status(decision(), previous=told, capacities={"cpu": 2.2})["pools"][0]["capacity"] == "2.2"


def test_a_schedule_that_can_not_be_followed_is_named() -> None:
    told = status(decision(), idle=("office",))
    text = next(one["message"] for one in told["conditions"] if one["type"] == "Accepted")
    assert text.endswith("; schedules in a timezone that the operator does not know are left out: office")


def test_until_metrics_are_read_what_was_told_stays() -> None:
    spec = SPEC | {"scaling": {"mode": "Observe"}}
    before = status(replace(decision(3), wanted={"cpu": 7}), spec)
    assert status(decision(3, "MetricsStale"), spec, previous=before, unread=True) == before
    assert condition(status(decision(3, "MetricsStale"), unread=True)) == ("Unknown", "Starting")
