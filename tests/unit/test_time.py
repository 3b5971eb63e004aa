"""Points in time."""

from datetime import UTC, datetime, timedelta, timezone
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as some

from springtide.api.time import unix_seconds

ZONES = some.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = some.datetimes(datetime(2000, 1, 2), datetime(2999, 12, 30), timezones=ZONES)


@given(TIMES)
def test_any_time_is_read(time: datetime) -> None:
    assert unix_seconds(time.isoformat()) == pytest.approx(time.timestamp(), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-02-29T23:59:59.5Z", datetime(2024, 2, 29, 23, 59, 59, 500000, UTC)),
        ("2026-12-01T20:00:00+05:30", datetime(2026, 12, 1, 14, 30, tzinfo=UTC)),
        ("2026-12-01T20:00:00-08:00", datetime(2026, 12, 2, 4, tzinfo=UTC)),
    ],
)
def test_some_times(text: str, at: datetime) -> None:
    assert unix_seconds(text) == at.timestamp()


@pytest.mark.parametrize(
    "text",
    [
        *(None, 5, "", "20:00", "2026-12-01", "2026-12-01T20:00:00", "2026-12-01T20:00:00z", "2026-12-01 20:00:00Z"),
        *("2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z", "2026-04-31T00:00:00Z", "2026-01-00T00:00:00Z"),
        *("2026-12-01T24:00:00Z", "2026-12-01T20:00:60Z", "2026-12-01T20:00:00Z\n", "0001-01-01T00:00:00Z"),
        "२०२६-12-01T20:00:00Z",
    ],
)
def test_what_is_no_time(text: object) -> None:
    assert isnan(unix_seconds(text))
