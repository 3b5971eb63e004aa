"""Good and bad specs of TrafficForecasts, held against the API server and against `springtide validate`."""

from math import nan
from typing import Any

from springtide.api.trafficforecast import TrafficForecast
from springtide.scaling.statements import Statement, statement

NAME = {"serviceName": "chat"}


def quantile(thousandths: Any, *rates: Any) -> dict[str, Any]:
    return {"thousandths": thousandths, "milliRequestsPerSecond": list(rates)}


def series(*quantiles: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {"producer": "own-model", "issuedAt": "2026-12-01T19:55:00Z", "quantiles": list(quantiles)}
    return {"series": made | more}


def announcement(**more: Any) -> dict[str, Any]:
    return {"announcement": {"startsAt": "2026-12-01T20:00:00Z", "endsAt": "2026-12-01T22:00:00Z"} | more}


def stated(name: str = "own", created: float = 0.0, baseline: float = nan, **spec: Any) -> Statement:
    whole = {"metadata": {"name": name, "namespace": "team-a", "uid": "u"}, "spec": NAME | spec}
    return statement(name, created, TrafficForecast.model_validate(whole).spec, baseline)


ONE = quantile(500, 1000)

# What is wrong with a spec, and words that the API server's message has.
BAD: list[tuple[dict[str, Any], list[str]]] = [
    ({"serviceName": "1chat"} | series(ONE), ["spec.serviceName"]),
    ({"serviceName": "team-b/chat"} | series(ONE), ["spec.serviceName"]),
    ({}, ["spec", "either series or announcement"]),
    (series(ONE) | announcement(multiplier=8), ["spec", "either series or announcement"]),
    (series(), ["spec.series.quantiles"]),
    (series(quantile(500)), ["spec.series.quantiles[0].milliRequestsPerSecond"]),
    (series(quantile(500, -1)), ["spec.series.quantiles[0].milliRequestsPerSecond[0]"]),
    (series(quantile(500, 1, 1.5)), ["spec.series.quantiles[0].milliRequestsPerSecond[1]", "integer"]),
    (series(quantile(500, "1")), ["spec.series.quantiles[0].milliRequestsPerSecond[0]", "integer"]),
    (series(quantile(500, 10**12 + 1)), ["spec.series.quantiles[0].milliRequestsPerSecond[0]"]),
    (series(quantile(500, *[1] * 1441)), ["spec.series.quantiles[0].milliRequestsPerSecond", "1440 items"]),
    (series(*(quantile(one, 1) for one in range(1, 18))), ["spec.series.quantiles", "16 items"]),
    (series(quantile(0, 1)), ["spec.series.quantiles[0].thousandths"]),
    (series(quantile(1000, 1)), ["spec.series.quantiles[0].thousandths"]),
    (series(ONE, ONE), ["spec.series.quantiles[1]", "Duplicate"]),
    (series(quantile(900, 1), quantile(500, 1)), ["spec.series.quantiles", "must ascend"]),
    (series(quantile(500, 1, 2), quantile(900, 3)), ["spec.series.quantiles", "as many steps"]),
    (series(quantile(500, 1), quantile(900, 2, 3)), ["spec.series.quantiles", "as many steps"]),
    (series(quantile(500, 1, 9), quantile(900, 2, 8)), ["spec.series.quantiles", "higher quantile is below a lower"]),
    (series(ONE, producer="Own model"), ["spec.series.producer"]),
    (series(ONE, issuedAt="yesterday"), ["spec.series.issuedAt"]),
    (series(ONE, issuedAt="2026-12-01T20:00:00"), ["spec.series.issuedAt"]),
    (series(ONE, issuedAt="2026-02-30T20:00:00Z"), ["spec.series.issuedAt"]),
    (series(ONE, issuedAt="2026-12-01T20:00:60Z"), ["spec.series.issuedAt"]),
    (series(ONE, issuedAt="2026-12-01t20:00:00z"), ["spec.series.issuedAt"]),
    (series(ONE, startsAt="0001-01-01T00:00:00Z"), ["spec.series.startsAt"]),
    (announcement(), ["spec.announcement", "either multiplier or requestsPerSecond"]),
    (announcement(multiplier=8, requestsPerSecond=8), ["spec.announcement", "either multiplier or requestsPerSecond"]),
    (announcement(multiplier="1.0"), ["spec.announcement.multiplier", "more than 1"]),
    (announcement(multiplier="-8"), ["spec.announcement.multiplier"]),
    (announcement(multiplier="10001"), ["spec.announcement.multiplier", "at most 10000"]),
    (announcement(multiplier=1.5), ["spec.announcement.multiplier"]),
    (announcement(requestsPerSecond=0), ["spec.announcement.requestsPerSecond", "more than 0"]),
    (announcement(requestsPerSecond="1e10"), ["spec.announcement.requestsPerSecond", "at most 1000000000"]),
    (announcement(multiplier=8, endsAt="2026-12-01T20:00:00Z"), ["spec.announcement.endsAt", "after startsAt"]),
    (announcement(multiplier=8, endsAt="2026-12-01T20:30:00+01:00"), ["spec.announcement.endsAt", "after startsAt"]),
    (announcement(multiplier=8, endsAt="2026-12-08T20:00:01Z"), ["spec.announcement.endsAt", "within 7 days"]),
    (announcement(multiplier=8, endsAt="20:00"), ["spec.announcement.endsAt"]),
]

GOOD: list[dict[str, Any]] = [
    series(ONE),
    series(quantile(1, 0), quantile(500, 10**12), quantile(999, 10**12)),
    series(quantile(500, 1, 2, 3), quantile(900, 1, 3, 3), issuedAt="2026-12-01T19:55:00.123456789+05:30"),
    series(*(quantile(50 * one, *[one] * 1440) for one in range(1, 17)), startsAt="2026-12-01T20:00:00-08:00"),
    announcement(multiplier=8),
    announcement(multiplier="1500m", endsAt="2026-12-08T20:00:00Z"),
    announcement(requestsPerSecond="0.5", endsAt="2026-12-01T20:00:00.5Z"),
    # the API server drops a null before it looks at the field
    announcement(multiplier=8, requestsPerSecond=None),
]
