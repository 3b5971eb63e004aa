"""The TrafficForecast that the forecaster writes for a service, and whether a new one is worth writing."""

from collections.abc import Sequence
from typing import Any

from springtide.api.base import GROUP, VERSION
from springtide.api.trafficforecast import FORECASTER

Rates = Sequence[Sequence[int]]
"""Thousandths of a request a second, a row a minute and in it a number for each quantile, ascending."""

_LONGEST_MINUTES = 5
_SHARE = 0.05
_LEAST = 17  # thousandths of a request a second: about one a minute
_MOST = 10**12  # what the API takes


def forecast_manifest(
    namespace: str, service: str, uid: str, thousandths: Sequence[int], rates: Rates, issued_at: str, starts_at: str
) -> dict[str, Any]:
    """Return the object: it has its service's name and is deleted with it. `uid` is the ModelService's."""
    owner = {"apiVersion": f"{GROUP}/{VERSION}", "kind": "ModelService", "name": service, "uid": uid}
    quantiles = [
        {"thousandths": level, "milliRequestsPerSecond": [min(max(rate, 0), _MOST) for rate in series]}
        for level, series in zip(thousandths, zip(*rates, strict=True), strict=True)
    ]
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrafficForecast",
        "metadata": {"name": service, "namespace": namespace, "ownerReferences": [owner]},
        "spec": {
            "serviceName": service,
            "series": {
                "producer": FORECASTER,
                "issuedAt": issued_at,
                "startsAt": starts_at,
                "quantiles": quantiles,
            },
        },
    }


def is_due(before: Rates, after: Rates, minutes: int) -> bool:
    """Tell whether a forecast is to be written that comes so many minutes after the one written before.

    It is after five minutes, and once a quantile of a minute that both tell of has moved by more than 5 %. Less than a
    request a minute is no move.
    """
    if not 0 < minutes < _LONGEST_MINUTES:
        return True
    return any(
        abs(new - old) > max(_SHARE * old, _LEAST)
        for old_row, new_row in zip(before[minutes:], after, strict=False)
        for old, new in zip(old_row, new_row, strict=True)
    )
