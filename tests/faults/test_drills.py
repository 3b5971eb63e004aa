"""The operator behind a network and an API server that fail in many ways. The drills run at the same time."""

from concurrent.futures import Future

import pytest

from tests.faults.events import EVENTS
from tests.faults.outages import OUTAGES


@pytest.mark.parametrize("drill", [one.__name__ for one in (*EVENTS, *OUTAGES)])
def test_drill(drill: str, drills: dict[str, "Future[str]"]) -> None:
    print(f"{drill}: {drills[drill].result(600)}")
