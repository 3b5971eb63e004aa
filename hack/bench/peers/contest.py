"""All servers in turn: each one's best setting, then rounds of capacity, search and 70 % load, then overload."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from hack import models
from hack.bench.peers import summary
from hack.bench.peers.catalog import KINDS, OURS, Kind
from hack.bench.peers.process import Server, free_port
from hack.bench.peers.settings import QUEUE, Settings
from hack.bench.peers.summary import Round
from hack.bench.peers.trials import WORKLOADS, Search, Trial, closed, opened, overload
from hack.shell import Failure, say

SLO_FACTOR = 10
SWEEP_CLIENTS = 8  # about as many as may be in flight while all are within the SLO
CAPACITY_CLIENTS = 32  # fills the largest batch
SHARE = 0.7


@dataclass
class Contender:
    """A server and what was learned of it."""

    kind: Kind
    rows: int = 1
    wait: int = 0
    reason: str = ""
    """Why it is not measured."""
    sweep: list[dict[str, Any]] = field(default_factory=list)
    unloaded_ms: float = 0.0
    rounds: dict[str, list[Round]] = field(default_factory=lambda: {name: [] for name in WORKLOADS})
    overload: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        """Return the server's name."""
        return self.kind.name


class Contest:
    """The whole run, in its order: sweep, unloaded, rounds, overload."""

    def __init__(self, asked: argparse.Namespace, scratch: str) -> None:
        """Take the command's options and a folder for all files."""
        self._asked, self._scratch = asked, scratch
        self._model = str(models.folder("minilm"))
        self.contenders = [Contender(KINDS[name]) for name in (OURS, *asked.peers)]
        self.slo = float(asked.slo_milliseconds)
        """In milliseconds; 0 until it is derived."""

    def run(self) -> None:
        """Measure everything."""
        for contender in self.contenders:
            with self._noted(contender):
                self._choose(contender)
        with ExitStack() as stack:
            servers: dict[str, Server] = {}
            for contender in self.measured():
                with self._noted(contender):
                    servers[contender.name] = stack.enter_context(self._start(contender))
                    servers[contender.name].pause()
            self._unloaded(servers)
            for number in range(self._asked.rounds):
                for workload in WORKLOADS:
                    self._round(number, workload, servers)
        for contender in self.measured():
            with self._noted(contender):
                self._overload(contender)

    def measured(self) -> list[Contender]:
        """Return those that nothing has failed for."""
        return [contender for contender in self.contenders if not contender.reason]

    @contextmanager
    def _noted(self, contender: Contender) -> Iterator[None]:
        """What fails is told in the table, and the others go on."""
        try:
            yield
        except Failure as failure:
            contender.reason = str(failure)
            say(f"{contender.name}: not measured: {failure}")

    def _start(self, contender: Contender, protect: bool = False, again: bool = True) -> Server:
        """Start it, and wait until it answers.

        Raises Failure when it can't be installed or doesn't start, tried twice.
        """
        rows, wait = contender.rows, contender.wait
        capacity = summary.table(contender.rounds["mixed"])["capacity_per_second"] if protect else 0
        places = max(2, math.ceil(capacity * self.slo / 1000)) if protect else QUEUE
        folder = tempfile.mkdtemp(dir=self._scratch)  # short: sockets are made in it
        settings = Settings(
            self._model, free_port(), rows, wait, self._asked.threads, round(self.slo), protect, places, folder
        )
        server = Server(contender.kind, settings, self._asked.server_cores)
        try:
            return server.wait_ready()
        except BaseException as error:
            server.end()
            if again and isinstance(error, Failure):  # on a busy machine Ray gives up after 30 s
                say(f"{contender.name}: started once more, since {error}")
                return self._start(contender, protect, again=False)
            raise

    def _choose(self, contender: Contender) -> None:
        """Find the rows and the wait that answer most."""
        grid = contender.kind.grid(self._asked.full)
        if self._asked.quick:
            grid = grid[:2][-1:]
        best = 0.0
        for rows, wait in grid:
            if len(grid) > 1:
                say(f"{contender.name}: sweep, at most {rows} rows, wait {wait} ms")
                tried = Contender(contender.kind, rows, wait)
                with self._start(tried) as server:
                    self._warm(server)
                    trial = closed(server, "mixed", self._asked.seconds, SWEEP_CLIENTS, 1)
                speed = trial.ok_per_second
                contender.sweep.append({"rows": rows, "wait_milliseconds": wait, **trial.told()})
            else:
                speed = 1.0
            if speed > best:
                best, contender.rows, contender.wait = speed, rows, wait

    def _warm(self, server: Server) -> None:
        """Let it learn and allocate; BentoML fits its line anew every five seconds."""
        closed(server, "mixed", self._asked.warm_up_seconds, SWEEP_CLIENTS, 2)

    def _unloaded(self, servers: dict[str, Server]) -> None:
        """Warm all up, and derive the SLO from the fastest answer to a client that is alone."""
        for contender in self.measured():
            with self._noted(contender), _running(servers[contender.name]) as server:
                self._warm(server)
                contender.unloaded_ms = closed(server, "mixed", self._asked.seconds, 1, 3).p50_ms
        if not self.slo:
            fastest = min((one.unloaded_ms for one in self.measured()), default=0.0)
            self.slo = max(10.0, 10.0 * math.ceil(SLO_FACTOR * fastest / 10))
        say(f"SLO: {self.slo:.0f} ms")

    def _round(self, number: int, workload: str, servers: dict[str, Server]) -> None:
        """Measure all servers in turn; each round begins with another."""
        say(f"round {number + 1} of {self._asked.rounds}, {workload}")
        seconds, seed = self._asked.seconds, 100 * (number + 1)
        alive = self.measured()
        turn = number % max(1, len(alive))
        order = [*alive[turn:], *alive[:turn]]
        capacities: dict[str, Trial] = {}
        for contender in order:
            with self._noted(contender), _running(servers[contender.name]) as server:
                capacities[contender.name] = closed(server, workload, seconds, CAPACITY_CLIENTS, seed)
        order = [contender for contender in order if not contender.reason]
        searches = {one.name: Search(capacities[one.name].ok_per_second) for one in order}
        for step in range(self._asked.steps):
            for contender in order:
                search = searches[contender.name]
                with _running(servers[contender.name]) as server:
                    search.tried(opened(server, workload, seconds, search.rate, self.slo, seed + step))
        others = [capacities[one.name].ok_per_second for one in order if one.name != OURS]
        for contender in order:
            search, capacity = searches[contender.name], capacities[contender.name]
            rate = SHARE * max(others or [capacity.ok_per_second])
            with _running(servers[contender.name]) as server:
                shared = opened(server, workload, 1.5 * seconds, rate, self.slo, seed + 99)
            seen = search.seen
            valid = search.valid and shared.valid and capacity.valid
            contender.rounds[workload].append(
                Round(
                    capacity.ok_per_second, search.found, seen, shared.p50_ms, shared.p99_ms,
                    capacity.cpu_ms_per_answer, valid,
                )
            )  # fmt: skip

    def _overload(self, contender: Contender) -> None:
        say(f"{contender.name}: overload")
        capacity = summary.table(contender.rounds["mixed"])["capacity_per_second"]
        with self._start(contender, protect=True) as server:
            self._warm(server)
            told = overload(server, self._asked.overload_seconds, capacity, self.slo, 7)
        told["goodput_fraction_of_peak"] = summary.overload_fraction(told, contender.rounds["mixed"])
        contender.overload = told


@contextmanager
def _running(server: Server) -> Iterator[Server]:
    """Let a server have the processor for a while."""
    server.resume()
    try:
        yield server
    finally:
        server.pause()
