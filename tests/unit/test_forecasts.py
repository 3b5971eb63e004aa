"""The TrafficForecast that the forecaster writes, and when it writes one."""

import pytest

from springtide.api.trafficforecast import TrafficForecastSpec
from springtide.manifests.forecasts import forecast_manifest, is_due

LEVELS = [500, 950]
FLAT = [[1000, 2000]] * 15


def test_the_object_is_valid_and_its_services() -> None:
    rates = [[1000 + step, 2000 + step] for step in range(15)]
    made = forecast_manifest("team", "chat", "u1", LEVELS, rates, "2026-01-01T00:00:03Z", "2026-01-01T00:00:00Z")
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u1"
    spec = TrafficForecastSpec.model_validate(made["spec"])
    assert spec.series is not None
    assert [one.thousandths for one in spec.series.quantiles] == LEVELS
    assert spec.series.quantiles[1].milli_requests_per_second == tuple(range(2000, 2015))


def test_absurd_rates_are_what_the_api_takes() -> None:
    made = forecast_manifest("t", "c", "u", [500], [[10**15], [-1]], "2026-01-01T00:00:03Z", "2026-01-01T00:00:00Z")
    spec = TrafficForecastSpec.model_validate(made["spec"])
    assert spec.series is not None
    assert spec.series.quantiles[0].milli_requests_per_second == (10**12, 0)


@pytest.mark.parametrize(
    ("after", "minutes", "due"),
    [
        (FLAT, 1, False),
        (FLAT, 4, False),
        (FLAT, 5, True),
        (FLAT, -1, True),
        ([[1050, 2000]] * 15, 1, False),
        ([[1051, 2000]] * 15, 1, True),
        ([[1000, 1899]] * 15, 1, True),
        ([[1000, 2000]] * 14 + [[9000, 9000]], 1, False),
        ([[1000, 2000]] * 13 + [[9000, 9000]] * 2, 1, True),
    ],
)
def test_when_it_is_written(after: list[list[int]], minutes: int, due: bool) -> None:
    assert is_due(FLAT, after, minutes) is due


def test_the_same_minute_is_compared() -> None:
    rising = [[1000 * step, 2000 * step] for step in range(15)]
    later = [[1000 * (step + 3), 2000 * (step + 3)] for step in range(15)]
    assert not is_due(rising, later, 3)
    assert is_due(rising, rising, 3)


def test_less_than_a_request_a_minute_is_no_move() -> None:
    assert not is_due([[0, 1]] * 15, [[15, 16]] * 15, 1)
