"""How loaded the server is, as gateways read it from a response's header (ORCA, Open Request Cost Aggregation)."""

import json
import time
from collections.abc import Callable, Mapping

from springtide_server import cgroup
from springtide_server.engine.engine import Engine

HEADER = "endpoint-load-metrics"
FORMAT_HEADER = "endpoint-load-metrics-format"  # a request that has it asks for the report, in that format
FORMATS = ("text", "json")
PERIOD_SECONDS = 1.0

Report = dict[str, float | dict[str, float]]


def encode(report: Mapping[str, float | Mapping[str, float]], format: str) -> str:
    """The header's value; `format` is one of FORMATS."""
    if format == "json":
        return f"JSON {json.dumps(report)}"
    pairs: list[tuple[str, float]] = []
    for name, value in report.items():
        pairs += (
            [(f"{name}.{key}", one) for key, one in value.items()] if isinstance(value, Mapping) else [(name, value)]
        )
    return "TEXT " + ",".join(f"{name}={value:g}" for name, value in pairs)


class LoadReport:
    """Rates are over the last period, and all is measured once a period: a response costs next to nothing."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine, self._clock = engine, clock
        self._answers = self._errors = 0
        self._since, self._worked, self._cpu = clock(), engine.pulse.worked_seconds, time.process_time()
        self._report: Report = {}

    def answered(self, code: int) -> None:
        """An API request was answered; what was refused for lack of room counts as an error."""
        self._answers += 1
        self._errors += code == 429 or code >= 500

    def report(self) -> Report:
        """OrcaLoadReport by its fields. Utilisations are parts of 1."""
        seconds = self._clock() - self._since
        if seconds >= PERIOD_SECONDS or not self._report:
            self._measure(max(seconds, PERIOD_SECONDS))
        return self._report

    def _measure(self, seconds: float) -> None:
        worked, cpu = self._engine.pulse.worked_seconds, time.process_time()
        parts = {"engine": min(1.0, (worked - self._worked) / seconds), **self._engine.utilization()}
        cpus = cgroup.cpu_limit() or cgroup.threads()
        self._report = {
            "application_utilization": round(max(parts.values()), 4),
            "cpu_utilization": round((cpu - self._cpu) / seconds / cpus, 4),
            "rps_fractional": round(self._answers / seconds, 4),
            "eps": round(self._errors / seconds, 4),
            "named_metrics": {f"{name}_utilization": round(value, 4) for name, value in parts.items()},
        }
        limit, usage = cgroup.memory_limit(), cgroup.memory_usage()
        if limit and usage is not None:
            self._report["mem_utilization"] = round((usage - cgroup.memory_reclaimable()) / limit, 4)
        self._since, self._worked, self._cpu = self._clock(), worked, cpu
        self._answers = self._errors = 0
