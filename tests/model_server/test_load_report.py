"""What gateways read of the server's load."""

import json

from springtide_server.engine.pulse import Pulse
from springtide_server.load import FORMATS, LoadReport, Report, encode


class Engine:
    """Only what the report reads."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        self.full = 0.0

    def utilization(self) -> dict[str, float]:
        return {"queue": self.full}


def test_formats() -> None:
    report: Report = {
        "cpu_utilization": 0.25,
        "rps_fractional": 1234.5,
        "named_metrics": {"queue_utilization": 0.5, "a": 1},
    }
    text = "TEXT cpu_utilization=0.25,rps_fractional=1234.5,named_metrics.queue_utilization=0.5,named_metrics.a=1"
    assert encode(report, "text") == text
    assert json.loads(encode(report, "json").removeprefix("JSON ")) == report
    assert set(FORMATS) == {"text", "json"}


def test_rates_are_those_of_the_last_period() -> None:
    now = 100.0
    engine = Engine()
    load = LoadReport(engine, lambda: now)  # type: ignore[arg-type]
    load.report()
    for code in (200, 200, 429, 503, 499, 400):
        load.answered(code)
    engine.full = 0.75
    assert load.report()["rps_fractional"] == 0, "the period isn't over"
    now += 2
    report = load.report()
    assert (report["rps_fractional"], report["eps"]) == (3, 1)
    assert report["application_utilization"] == 0.75
    assert report["named_metrics"] == {"engine_utilization": 0, "queue_utilization": 0.75}
    assert isinstance(report["cpu_utilization"], float) and report["cpu_utilization"] >= 0
    now += 2
    assert load.report()["rps_fractional"] == 0
