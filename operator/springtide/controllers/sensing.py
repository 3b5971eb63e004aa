"""The signals of all services, read from Prometheus every few seconds, and what is learned of their replicas."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from springtide.api.quantity import parse_quantity
from springtide.controllers.cache import Cache, Entry, Name, Written
from springtide.controllers.observing import Senses
from springtide.controllers.queue import WorkQueue
from springtide.scaling.decide import Decision
from springtide.scaling.state import State, resume
from springtide.scaling.tuning import TUNING
from springtide.signals import capacity
from springtide.signals.answers import Answer, Failure
from springtide.signals.capacity import Capacity
from springtide.signals.read import read
from springtide.signals.records import RECORDS
from springtide.signals.values import Key, Pool, Signals, carry

logger = logging.getLogger(__name__)

NOT_CONFIGURED = "the operator was installed without the URL of a Prometheus"


class Questions(Protocol):
    """What can be asked: Prometheus."""

    async def ask(self, questions: Mapping[str, str]) -> dict[str, Answer]:
        """Return an answer for each named query; never raises, never takes long."""


@dataclass
class _Service:
    """What is remembered of one service. `learned_at` is the round of signals that its state has learned from.

    `capacities` are by pool, each with the revision that it was learned of.
    """

    name: Name
    capacities: dict[str, tuple[str, Capacity]] = field(default_factory=dict)
    state: State | None = None
    learned_at: int = 0
    decision: Decision | None = None


class Sensing:
    """Reads the signals of services that scale, and has each of them decided on anew."""

    def __init__(
        self,
        prometheus: Questions | None,
        cache: Cache,
        queue: WorkQueue[Name],
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._prometheus = prometheus
        self._cache = cache
        self._queue = queue
        self._clock = clock
        self._monotonic = monotonic
        self._signals: dict[Key, Signals] = {}
        self._services: dict[str, _Service] = {}
        self._round = 0
        self._read_at = -inf
        self._failure: Failure | None = None
        self.errors = 0  # rounds that ended by an error of the operator's own

    async def keep_sensing(self) -> None:
        """Read and decide for ever, once a tick."""
        while True:
            began = self._monotonic()
            try:
                await self.sense()
            except Exception:
                # The next round may be better; what is broken for good shows in the age of the signals.
                self.errors += 1
                logger.exception("the signals could not be read")
            await asyncio.sleep(max(TUNING.tick - (self._monotonic() - began), 1.0))

    async def sense(self) -> None:
        """Read the signals once, learn from them, and ask for a new decision on each service that scales."""
        entries = [entry for entry in self._cache.model_services if scales(entry.value.spec)]
        try:
            if self._prometheus is not None and entries:
                await self._read(self._prometheus, entries)
        finally:
            # What is not read ages, and that is decided on too.
            self._services = {entry.uid: self._services[entry.uid] for entry in entries if entry.uid in self._services}
            for entry in entries:
                if not self._queue.waits(entry.name):
                    self._queue.add(entry.name)

    def senses(self, entry: Entry[Written]) -> Senses:
        """Return what is known of a service now."""
        known = self._of(entry)
        namespace, name = entry.name
        signals = {
            pool: found for pool in ("", *known.capacities) if (found := self._signals.get(Key(namespace, name, pool)))
        }
        return Senses(
            signals=signals,
            capacities={pool: learned for pool, (_, learned) in known.capacities.items()},
            elapsed=self._monotonic() - self._read_at,
            trouble=self._trouble(signals),
            unread=self.asks and not self._round and self._failure is None,
            state=known.state,
        )

    def keep(self, entry: Entry[Written], decision: Decision) -> None:
        """Remember a decision, and what it learned once for each round of signals, however often it is made."""
        known = self._of(entry)
        known.decision = decision
        if known.learned_at < self._round:
            known.state, known.learned_at = decision.state, self._round

    @property
    def decisions(self) -> dict[Name, Decision]:
        """The newest decision of each service that scales."""
        return {one.name: one.decision for one in self._services.values() if one.decision is not None}

    @property
    def asks(self) -> bool:
        """Whether there is a Prometheus to ask."""
        return self._prometheus is not None

    @property
    def failure(self) -> Failure | None:
        """Why the last round of questions was not answered."""
        return self._failure

    async def _read(self, prometheus: Questions, entries: list[Entry[Written]]) -> None:
        pools: dict[Key, Pool] = {}
        for entry in entries:
            pools |= self._pools(entry)
        answers = await prometheus.ask(RECORDS)
        self._hear(answers)
        if self._failure is not None:
            return
        found = await asyncio.to_thread(read, answers, pools)
        now = self._monotonic()
        elapsed = now - self._read_at if self._signals else 0.0
        self._signals = {
            key: carry(self._signals[key], signals, elapsed) if key in self._signals else signals
            for key, signals in found.items()
        }
        self._read_at, self._round = now, self._round + 1
        for entry in entries:
            self._learn(entry, found)

    def _hear(self, answers: Mapping[str, Answer]) -> None:
        scraped = answers.get("scraped")
        failure = scraped if isinstance(scraped, Failure) else None
        if failure is not None and failure != self._failure:
            logger.warning("Prometheus: %s: %s", failure.fault, failure.message, extra={"reason": failure.fault})
        if failure is None and self._failure is not None:
            logger.info("Prometheus answers again")
        self._failure = failure

    def _pools(self, entry: Entry[Written]) -> dict[Key, Pool]:
        now, known = self._clock(), self._of(entry)
        ready: dict[str, dict[str, float]] = {name: {} for name in known.capacities}
        for pod in self._cache.pods.of(entry.name):
            if pod.value.ready and not pod.value.deleting and pod.value.pool in ready:
                ready[pod.value.pool][pod.value.name] = max(now - pod.value.ready_since, 0.0)
        return {
            Key(*entry.name, name): Pool(
                ready[name], {"requests": one.estimate, "served": one.estimate} if one.estimate else {}
            )
            for name, (_, one) in known.capacities.items()
        }

    def _learn(self, entry: Entry[Written], found: Mapping[Key, Signals]) -> None:
        known = self._of(entry)
        for name, (revision, learned) in known.capacities.items():
            if signals := found.get(Key(*entry.name, name)):
                known.capacities[name] = (revision, capacity.learn(learned, signals))

    def _of(self, entry: Entry[Written]) -> _Service:
        """Return what is remembered of a service; what its status tells where nothing is, as after a restart."""
        known = self._services.get(entry.uid)
        if known is None:
            learned = {one["name"]: float(one["value"]) for one in _scaling(entry).get("learned", ())}
            state = resume(self._clock(), learned, TUNING) if learned else None
            known = self._services[entry.uid] = _Service(entry.name, state=state)
        told = {one["name"]: one for one in entry.value.status.get("pools", ())}
        capacities = {}
        for name, prior in _priors(entry.value.spec).items():
            pool = told.get(name, {})
            revision = pool.get("revision", "")
            was, learned_capacity = known.capacities.get(name) or (revision, _restored(prior, pool.get("capacity")))
            changed = bool(was) and was != revision
            capacities[name] = (revision, capacity.renew(learned_capacity, prior, new_revision=changed))
        known.capacities = capacities
        return known

    def _trouble(self, signals: Mapping[str, Signals]) -> str:
        if self._prometheus is None:
            return NOT_CONFIGURED
        if self._failure is not None:
            return f"Prometheus: {self._failure.fault}"
        for pool, one in signals.items():
            if pool and one.requests is None and one.doubts:
                return f"pool {pool}: {one.doubts[0].reason}"
        return ""


def scales(spec: Mapping[str, Any]) -> bool:
    """Tell whether there is anything to decide for a spec, as it was written."""
    if spec.get("scaling", {}).get("mode") == "Off":
        return False
    return any(pool.get("tier") != "Offline" and "max" in pool.get("replicas", {}) for pool in spec.get("pools", ()))


def _priors(spec: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what a replica of each pool is said to serve, in requests a second."""
    priors: dict[str, float | None] = {}
    for pool in spec.get("pools", ()):
        written = pool.get("capacity", {}).get("requestsPerSecond")
        try:
            priors[pool["name"]] = float(parse_quantity(written)) if written is not None else None
        except ValueError:
            priors[pool["name"]] = None  # admission refuses it; here it is as if nothing had been said
    return priors


def _restored(prior: float | None, written: str | None) -> Capacity:
    return capacity.begin(prior) if written is None else Capacity(float(written), prior, capacity.PRIOR_WEIGHT)


def _scaling(entry: Entry[Written]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = entry.value.status.get("scaling") or {}
    return found
