"""TrafficForecasts against a real API server: what it refuses, and what the operator says of the others."""

from typing import Any

import pytest

from tests.api.policies import APPLY
from tests.api.support import (
    DEFINITIONS,
    MODEL_SERVICES,
    TRAFFIC_FORECASTS,
    Api,
    Operator,
    Refused,
    after,
    eventually,
    forecast_body,
    install_definitions,
    remove_namespace,
)
from tests.unit.forecast_specs import BAD, GOOD, NAME, ONE, announcement, quantile, series

SCALED = {"name": "cpu", "replicas": {"min": 1, "max": 3}}


def now_series(*rates: int, minutes: float = 0, **more: Any) -> dict[str, Any]:
    return series(quantile(500, *(rates or (1000,) * 15)), issuedAt=after(minutes), **more)


@pytest.mark.parametrize(("spec", "words"), BAD, ids=lambda one: str(one)[:80])
def test_refused(api: Api, spec: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        api.forecast("bad", **spec)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize("spec", GOOD, ids=lambda one: str(one)[:80])
def test_taken(api: Api, spec: dict[str, Any]) -> None:
    made = api.forecast("good", **spec)
    api.delete(TRAFFIC_FORECASTS, "good")
    assert made["spec"] == NAME | {
        kind: {field: value for field, value in part.items() if value is not None} for kind, part in spec.items()
    }, "nothing is filled in"
    assert made["status"] == {"observedGeneration": -1}


def test_it_belongs_to_the_category_and_has_a_short_name(api: Api) -> None:
    (kind,) = [
        one
        for one in api.call("GET", "/apis/springtide.dev/v1alpha1")["resources"]
        if one["name"] == "trafficforecasts"
    ]
    assert (kind["shortNames"], kind["categories"]) == (["tfc"], ["springtide"])


def test_a_series_replaces_the_one_before_as_a_whole(api: Api) -> None:
    path = f"{TRAFFIC_FORECASTS}/applied"
    first = forecast_body("applied", **series(quantile(500, 1, 1), quantile(800, 2, 2), quantile(990, 3, 3)))
    second = forecast_body("applied", **series(quantile(500, 5), quantile(900, 6), quantile(990, 7)))
    for one in (first, second):
        made = api.call("PATCH", path, one, APPLY, fieldManager="forecaster")
        assert made["spec"]["series"]["quantiles"] == one["spec"]["series"]["quantiles"]
    api.delete(TRAFFIC_FORECASTS, "applied")


def test_the_service_may_come_later_and_go(api: Api, operator: Operator) -> None:
    api.forecast("early", serviceName="late", **now_series())
    eventually(lambda: api.verdict("early") == ("ServiceNotFound", "ServiceNotFound"))
    other = new_namespace_with_service(api, "late")
    assert api.verdict("early") == ("ServiceNotFound", "ServiceNotFound"), "a namesake of another namespace is none"
    api.create("late", pools=[SCALED])
    eventually(lambda: api.verdict("early")[0] == "Accepted")
    eventually(lambda: api.verdict("early")[1] == "MetricsStale")
    api.delete(MODEL_SERVICES, "late")
    eventually(lambda: api.verdict("early") == ("ServiceNotFound", "ServiceNotFound"))
    remove_namespace(other)
    api.delete(TRAFFIC_FORECASTS, "early")


def new_namespace_with_service(api: Api, name: str) -> Api:
    other = Api.__new__(Api)
    other.__dict__ |= api.__dict__
    made = api.call("POST", "/api/v1/namespaces", {"metadata": {"generateName": "other-"}})
    other.namespace = made["metadata"]["name"]
    other.create(name, pools=[SCALED])
    return other


def test_what_became_of_each(api: Api, operator: Operator) -> None:
    api.create("chat", pools=[SCALED])
    launch = {"startsAt": after(-1), "endsAt": after(60), "requestsPerSecond": 5}
    specs = {
        "own": now_series(minutes=-2),
        "ours": now_series(producer="springtide-forecaster"),
        "past": now_series(minutes=-20),
        "future": now_series(minutes=20),
        "launch": {"announcement": launch},
        "twice": {"announcement": launch | {"startsAt": after(1), "requestsPerSecond": None, "multiplier": 2}},
    }
    for name, spec in specs.items():
        api.forecast(name, **spec)
    reasons = {
        "own": "MetricsStale",
        "ours": "Superseded",
        "past": "Expired",
        "future": "NotStarted",
        "launch": "MetricsStale",
        "twice": "MetricsStale",
    }
    accepted = {name: ("Accepted", reason) for name, reason in reasons.items()}
    eventually(lambda: all(api.verdict(name)[0] for name in specs))
    assert {name: api.verdict(name) for name in specs} == accepted
    baseline = api.get(TRAFFIC_FORECASTS, "twice")["status"]["baselineMilliRequestsPerSecond"]
    assert baseline == 1000, "what the forecast expects when it begins"
    message = api.get(TRAFFIC_FORECASTS, "own")["status"]["conditions"][1]["message"]
    assert message == "the operator was installed without the URL of a Prometheus; replicas are held"
    api.delete(TRAFFIC_FORECASTS, "own")
    eventually(lambda: api.verdict("ours")[1] == "MetricsStale", 20)
    api.edit("chat", {"scaling": {"forecast": "Off"}})
    eventually(lambda: api.verdict("ours")[1] == "ForecastsOff")
    api.edit("chat", {"pools": [{"name": "cpu"}]})
    eventually(lambda: api.verdict("launch")[1] == "NothingToScale")


def test_one_that_moves_to_another_service_leaves_the_first(api: Api, operator: Operator) -> None:
    for name in ("from", "to"):
        api.create(name, pools=[SCALED])
    api.forecast("moving", serviceName="from", **now_series())
    api.forecast("staying", serviceName="from", **now_series(minutes=-1))
    eventually(lambda: api.verdict("staying")[1] == "Superseded")
    api.patch(f"{TRAFFIC_FORECASTS}/moving", {"spec": {"serviceName": "to"}})
    eventually(lambda: api.verdict("staying")[1] == "MetricsStale", 10)
    assert api.verdict("moving")[1] == "MetricsStale"


def without_times(status: dict[str, Any]) -> dict[str, Any]:
    conditions = [one | {"lastTransitionTime": ""} for one in status["conditions"]]
    return status | {"conditions": conditions}


def test_a_verdict_is_written_once_and_repaired(api: Api, operator: Operator) -> None:
    api.forecast("quiet", serviceName="nobody", **announcement(multiplier=8))
    eventually(lambda: api.verdict("quiet")[0] == "ServiceNotFound")
    path = f"{TRAFFIC_FORECASTS}/quiet"
    before, writes = api.call("GET", path), operator.writes()
    api.patch(path, {"metadata": {"labels": {"a": "b"}}})
    api.patch(f"{path}/status", {"status": {"conditions": []}})
    eventually(lambda: api.verdict("quiet")[0] == "ServiceNotFound")
    live = api.call("GET", path)
    assert without_times(live["status"]) == without_times(before["status"])
    assert operator.writes() == writes + 1, "the label is nothing to write for"
    assert not {"annotations", "finalizers", "ownerReferences"} & live["metadata"].keys()


def test_a_stored_spec_that_this_operator_does_not_know(api: Api, operator: Operator) -> None:
    path = f"{DEFINITIONS}/trafficforecasts.springtide.dev"
    newer = api.call("GET", path)["spec"]["versions"]
    newer[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["future"] = {"type": "string"}
    try:
        api.patch(path, {"spec": {"versions": newer}})
        api.forecast("newer", **series(ONE))

        def refused() -> bool:
            api.patch(f"{TRAFFIC_FORECASTS}/newer", {"spec": {"future": after(0)}})
            return api.verdict("newer")[0] == "InvalidSpec"

        eventually(refused, 30)
    finally:
        install_definitions(api)
