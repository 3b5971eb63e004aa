"""One measurement of one server, and what is searched for by several."""

from __future__ import annotations

import statistics
import threading
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from hack.bench.peers.process import Server
from hack.load import Options, run
from hack.shell import Failure, say

WORKLOADS = {"mixed": "4-64", "equal": "32"}
"""Lengths of texts in tokens; the model adds two of its own."""
ATTAINMENT = 0.99
TIMEOUT_SECONDS = 5.0
PRIORITIES = "X-Priority=critical:0.1,standard:0.6,background:0.3"
TOP = "critical"
OVERLOAD = 3


@dataclass(frozen=True)
class Trial:
    """What came of one load. `valid` is false where the generator couldn't send when it should."""

    offered_per_second: float
    ok_per_second: float
    goodput_per_second: float
    attainment: float
    p50_ms: float
    p99_ms: float
    cpu_ms_per_answer: float
    """Processor time of all the server's processes."""
    outcomes: dict[str, int]
    statuses: dict[str, int]
    sender_core: float
    sender_lateness_p99_ms: float
    valid: bool

    def told(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def load(server: Server, workload: str, seconds: float, **options: Any) -> tuple[Trial, dict[str, Any]]:
    """Send a load to a server; give what came of it and the generator's whole report."""
    asked = Options(
        (server.url,), kind="embeddings", model="minilm", tokens=WORKLOADS[workload], seconds=seconds,
        timeout_seconds=TIMEOUT_SECONDS, max_connections=5000,
    )  # fmt: skip
    asked = replace(asked, **options)
    before = server.cpu_seconds()
    report = run(asked)
    used = server.cpu_seconds() - before
    latency, answers = report["latency_ms"]["ok_and_failed"], report["requests"]["ok"]
    sender = report["sender"]
    trial = Trial(
        report["offered_per_second"], report["ok_per_second"], report["goodput_per_second"],
        report["attainment"] or 0.0, latency.get("p50", 0.0), latency.get("p99", 0.0), 1000 * used / max(1, answers),
        report["outcomes"], report["statuses"], sender["busiest_core"], sender["lateness_ms"].get("p99", 0.0),
        not report["sender_saturated"],
    )  # fmt: skip
    return trial, report


def closed(server: Server, workload: str, seconds: float, clients: int, seed: int) -> Trial:
    """Return what so many clients get that each wait for their answer.

    Raises Failure when they get nothing.
    """
    trial, report = load(server, workload, seconds, concurrency=clients, seed=seed)
    if not report["requests"]["ok"]:
        raise Failure(f"it answered nothing: {trial.outcomes} {report['details']}")
    say(f"  {server.kind.name:10} {workload}: {trial.ok_per_second:.1f}/s in a closed loop of {clients}")
    return trial


def opened(server: Server, workload: str, seconds: float, rate: float, slo: float, seed: int) -> Trial:
    """Return what came of a Poisson load. Sent once more where the generator was late."""
    for again in (True, False):
        options = {"rate": max(0.5, rate), "slo_milliseconds": slo, "seed": seed}
        trial, _ = load(server, workload, seconds, **options)
        if trial.valid or not again:
            break
    say(
        f"  {server.kind.name:10} {workload}: at {rate:.1f}/s p50 {trial.p50_ms:.0f} ms, p99 {trial.p99_ms:.0f} ms, "
        f"{100 * trial.attainment:.1f} % in time{'' if trial.valid else ' (generator saturated: invalid)'}"
    )
    return trial


@dataclass
class Search:
    """For the highest rate at which 99 % are in time: by halving, from 0.4 to 1.2 times the capacity. No I/O."""

    capacity: float
    trials: list[Trial] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._low, self._high = 0.4 * self.capacity, 1.2 * self.capacity
        self._passed = self._seen = 0.0

    @property
    def rate(self) -> float:
        """To be tried next."""
        return (self._low + self._high) / 2

    def tried(self, trial: Trial) -> None:
        """Take what came of `rate`."""
        self.trials.append(trial)
        self._seen = max(self._seen, self.rate * trial.attainment)
        if trial.attainment >= ATTAINMENT:
            self._low = self._passed = self.rate
        else:
            self._high = self.rate

    @property
    def found(self) -> float:
        """The highest rate that held, requests a second; 0 where none did."""
        return self._passed

    @property
    def seen(self) -> float:
        """The most answers in time a second, at any of the rates."""
        return self._seen

    @property
    def valid(self) -> bool:
        """Whether all trials were."""
        return all(trial.valid for trial in self.trials)


class Memory:
    """Samples a server's memory beside a load, once a second."""

    def __init__(self, server: Server) -> None:
        self._server, self._samples = server, [server.memory_mebibytes()]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(1):
            self._samples.append(self._server.memory_mebibytes())

    def told(self) -> dict[str, float]:
        """Return MiB: before the load, the medians of its second and its last quarter, and the most."""
        quarter = max(1, len(self._samples) // 4)
        second, last = self._samples[quarter : 2 * quarter] or self._samples, self._samples[-quarter:]
        told = {"before": self._samples[0], "early": statistics.median(second), "late": statistics.median(last)}
        return {name: round(value, 1) for name, value in (told | {"max": max(self._samples)}).items()}


def overload(server: Server, seconds: float, capacity: float, slo: float, seed: int) -> dict[str, Any]:
    """Return what a server does with three times what it can; priorities go along, for whom they mean something."""
    rate = OVERLOAD * capacity
    with Memory(server) as memory:
        trial, report = load(
            server, "mixed", seconds, rate=rate, slo_milliseconds=slo, seed=seed, header_mix=PRIORITIES
        )
    say(
        f"  {server.kind.name:10} at {rate:.0f}/s, 3 x its capacity: {trial.goodput_per_second:.1f}/s in time, "
        f"{TOP} {100 * (report['classes'][TOP]['attainment'] or 0):.1f} %"
    )
    after, _ = load(server, "mixed", min(3.0, seconds), rate=max(0.5, capacity / 2), slo_milliseconds=slo, seed=seed)
    classes = {name: one["attainment"] for name, one in report["classes"].items()}
    return {
        **trial.told(),
        "attainment_by_class": classes,
        "memory_mebibytes": memory.told(),
        "attainment_after_at_half_capacity": after.attainment,
    }
