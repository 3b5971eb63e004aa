"""The status of a TrafficForecast."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from springtide.scaling.statements import Verdict
from springtide.status.compute import timed
from springtide.status.conditions import Finding
from springtide.status.observed import ObservedForecast

NO_SERVICE = Verdict(False, "ServiceNotFound", "there is no ModelService in this namespace that spec.serviceName names")
NO_PLAN = Verdict(False, "ServiceNotAccepted", "its ModelService can't be acted on: see that one's conditions")

_MESSAGE = 1024


def refusal(forecast: ObservedForecast) -> Verdict | None:
    """Return what is said of a TrafficForecast that can't be read, None of one that can."""
    return Verdict(False, "InvalidSpec", forecast.problem) if forecast.statement is None else None


def compute_forecast_status(forecast: ObservedForecast, verdict: Verdict, now: str) -> dict[str, Any]:
    """Return the status; `now` is in RFC 3339."""
    accepted = Finding("Accepted", "True", "Accepted", "the spec is valid and its ModelService is there")
    if forecast.statement is None or verdict == NO_SERVICE:
        accepted = Finding("Accepted", "False", verdict.reason, verdict.message[:_MESSAGE])
    used = Finding("Used", "True" if verdict.used else "False", verdict.reason, _message(verdict, forecast))
    conditions = timed([accepted, used], forecast.generation, forecast.status, now)
    status = {"observedGeneration": forecast.generation, "conditions": conditions}
    if isnan(verdict.baseline):
        return status
    return status | {"baselineMilliRequestsPerSecond": round(1000 * verdict.baseline)}


def _message(verdict: Verdict, forecast: ObservedForecast) -> str:
    """Return what the verdict says; of a fleeting one what it said when it came."""
    was: Mapping[str, Any] = next((one for one in forecast.status.get("conditions", ()) if one["type"] == "Used"), {})
    same = (was.get("reason"), was.get("observedGeneration")) == (verdict.reason, forecast.generation)
    return str(was["message"]) if verdict.fleeting and same else verdict.message[:_MESSAGE]
