"""The status of a TrafficForecast, and how a live one is reduced."""

from dataclasses import replace
from math import nan
from typing import Any

from springtide.api.trafficforecast import TrafficForecastStatus
from springtide.clients.cluster import TRAFFIC_FORECAST
from springtide.controllers.cache import reduce
from springtide.scaling.statements import Verdict
from springtide.status.forecasts import NO_SERVICE, compute_forecast_status, refusal
from springtide.status.observed import observe_forecast
from tests.unit.forecast_specs import NAME, ONE, announcement, series

NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:01:00Z"
USED = Verdict(True, "Used", "scaling reads it")


def live(spec: dict[str, Any], status: Any = None) -> dict[str, Any]:
    metadata = {
        "name": "own",
        "namespace": "team-a",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-12-01T19:00:00Z",
    }
    return {"metadata": metadata, "spec": spec, "status": status or {}}


def told(verdict: Verdict, before: dict[str, Any] | None = None, now: str = NOW, **spec: Any) -> dict[str, Any]:
    status = compute_forecast_status(observe_forecast(live(NAME | (spec or series(ONE)), before)), verdict, now)
    TrafficForecastStatus.model_validate(status)
    return status


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}


def test_it_belongs_to_the_service_that_it_names() -> None:
    entry = reduce(TRAFFIC_FORECAST, live(NAME | series(ONE)))
    assert (entry.name, entry.key) == (("team-a", "own"), ("team-a", "chat"))
    assert entry.value.statement.producer == "own-model"


def test_what_was_recorded_is_read_again() -> None:
    status = told(Verdict(True, "Used", "it", baseline=41.5), **announcement(multiplier=8))
    assert status["baselineMilliRequestsPerSecond"] == 41500
    said = observe_forecast(live(NAME | announcement(multiplier=8), status)).statement
    assert said is not None
    assert said.baseline == 41.5
    assert "baselineMilliRequestsPerSecond" not in told(Verdict(True, "Used", "it", baseline=nan))


def test_used() -> None:
    status = told(USED)
    assert status["observedGeneration"] == 2
    assert conditions(status) == {"Accepted": ("True", "Accepted"), "Used": ("True", "Used")}
    assert told(USED, status, LATER) == status, "nothing to write"


def test_not_used() -> None:
    assert conditions(told(Verdict(False, "Expired", "over"))) == {
        "Accepted": ("True", "Accepted"),
        "Used": ("False", "Expired"),
    }
    assert conditions(told(NO_SERVICE)) == {
        "Accepted": ("False", "ServiceNotFound"),
        "Used": ("False", "ServiceNotFound"),
    }


def test_what_this_operator_cannot_read_is_said() -> None:
    found = observe_forecast(live(NAME | series(ONE, cadence="Hourly")))
    assert found.statement is None
    refused = refusal(found)
    assert refused is not None
    status = compute_forecast_status(found, refused, NOW)
    assert conditions(status)["Accepted"] == ("False", "InvalidSpec")
    assert status["conditions"][0]["message"] == "spec.series.cadence: unknown field"
    assert refusal(observe_forecast(live(NAME | series(ONE)))) is None
    assert observe_forecast(live({})).problem


def test_numbers_of_the_moment_are_no_reason_to_write() -> None:
    doubted = Verdict(False, "Doubted", "the forecast has 9.0, 2.0 were measured", fleeting=True)
    again = Verdict(False, "Doubted", "the forecast has 9.1, 2.1 were measured", fleeting=True)
    status = told(doubted)
    assert told(again, status, LATER) == status
    newer = replace(observe_forecast(live(NAME | series(ONE), status)), generation=3)
    last = compute_forecast_status(newer, again, LATER)["conditions"][1]
    assert last["message"] == again.message, "of another generation it is another doubt"
    longest = told(Verdict(False, "Doubted", "x" * 9999))
    assert len(longest["conditions"][1]["message"]) == 1024
