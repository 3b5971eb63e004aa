"""What a status tells of scaling: two conditions, the last decisions and what was learned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from springtide.api.scaled import MOST_DECISIONS
from springtide.api.time import unix_seconds
from springtide.scaling.decide import Decision
from springtide.scaling.settings import ScalingSettings
from springtide.scaling.state import lessons
from springtide.status.conditions import Finding, PoolView

# What was learned is written again after so many seconds: written each time it would be a write for every decision.
LEARNED_SECONDS = 600
# A measured capacity is written again when it has moved by this share.
_MOVED = 0.05
_MESSAGE = 1024

# Conditions are written when they change, so these texts have no numbers that every decision changes.
_TEXTS = {
    "AtLimit": "more replicas are needed than replicas.max of all pools allows: raise it",
    "CapacityUnknown": "what a replica serves was not measured yet, so replicas are held; "
    "capacity.requestsPerSecond of the pools would say it",
    "NotReady": "no replica is ready, so requests may come that nothing counts: replicas are held",
    "Off": "scaling is off: replicas stay as they are, within their limits",
    "Pinned": "spec.replicas pins the first pool",
}
_BLIND = {"MetricsStale", "CapacityUnknown", "NotReady"}


@dataclass(frozen=True)
class Scaled:
    """A decision and what it was made from, for the status.

    `trouble` is why metrics are absent; while they are `unread`, what was told before stays. `idle` names the schedules
    whose timezone is not known. By pool: `capacities` in requests a second, `starts` the p50 and p95 of the time to
    Ready in seconds. `now` is in Unix seconds.
    """

    decision: Decision
    settings: ScalingSettings
    trouble: str = ""
    unread: bool = False
    idle: tuple[str, ...] = ()
    capacities: Mapping[str, float] = field(default_factory=dict)
    starts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    now: float = 0.0

    @property
    def unheeded(self) -> str:
        """What of the spec can't be acted on; empty when there is nothing."""
        names = ", ".join(self.idle)
        return f"schedules in a timezone that the operator does not know are left out: {names}" if names else ""

    @property
    def scales(self) -> bool:
        """Whether there is anything to decide."""
        return self.settings.mode != "Off" and any(pool.most > pool.least for pool in self.settings.pools)


def conditions(scaled: Scaled, pools: Sequence[PoolView], previous: Mapping[str, Any]) -> Iterator[Finding]:
    """Scaled: capacity is what it should be. ForecastReady: a forecast is acted on; only where one could be."""
    if scaled.unread and scaled.scales:
        known = [one for one in previous.get("conditions", ()) if one["type"] in {"Scaled", "ForecastReady"}]
        yield from (Finding(one["type"], one["status"], one["reason"], one["message"]) for one in known)
        if not known:
            yield Finding("Scaled", "Unknown", "Starting", "metrics have not been read yet")
        return
    yield _scaled(scaled, [pool for pool in pools if pool.wanted.online])
    if scaled.scales and scaled.settings.forecast != "Off":
        yield _forecast_ready(scaled.decision, previous)


def scaling_status(scaled: Scaled, previous: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return status.scaling; `previous` is the whole status before, `now` in RFC 3339."""
    before = previous.get("scaling") or {}
    decisions = list(before.get("decisions", ()))
    if not scaled.unread and (changes := _changes(scaled, previous)):
        decision = scaled.decision
        decisions = [
            {
                "time": now,
                "mode": scaled.settings.mode,
                "reason": decision.reason,
                "message": decision.message[:_MESSAGE],
                "pools": changes,
                "inputs": _numbers(decision.inputs),
            },
            *[one for one in decisions if one["time"] != now][: MOST_DECISIONS - 1],
        ]
    made: dict[str, Any] = {"decisions": decisions} if decisions else {}
    if not scaled.scales:
        return made
    learned, written = _numbers(lessons(scaled.decision.state)), before.get("learnedAt", "")
    if written and (scaled.now - unix_seconds(written) < LEARNED_SECONDS or learned == before.get("learned")):
        return made | {"learned": before.get("learned", []), "learnedAt": written}
    return made | {"learned": learned, "learnedAt": now}


def pool_status(scaled: Scaled, pool: str, previous: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a pool beside its counts."""
    made: dict[str, Any] = {}
    before: Mapping[str, Any] = next((one for one in previous.get("pools", ()) if one["name"] == pool), {})
    if scaled.scales and scaled.settings.mode == "Observe" and pool in scaled.decision.wanted:
        told = before.get("recommended") if scaled.unread else None
        made["recommended"] = scaled.decision.wanted[pool] if told is None else told
    if capacity := scaled.capacities.get(pool):
        written = before.get("capacity")
        near = written is not None and abs(float(written) - capacity) <= _MOVED * capacity
        made["capacity"] = written if near else decimal(capacity)
    if pool in scaled.starts:
        p50, p95 = scaled.starts[pool]
        made["readySeconds"] = {"p50": round(p50), "p95": round(p95)}
    return made


def decimal(value: float) -> str:
    """Return a number as the API has it: no exponent, no trailing zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _scaled(scaled: Scaled, pools: Sequence[PoolView]) -> Finding:
    decision = scaled.decision
    if scaled.scales and decision.reason in _BLIND:
        text = _TEXTS.get(decision.reason) or f"{scaled.trouble or 'no arrival rate is known'}; replicas are held"
        return Finding("Scaled", "Unknown", decision.reason, text)
    if decision.shortage > 0 and scaled.scales:
        return Finding("Scaled", "False", "AtLimit", _TEXTS["AtLimit"])
    for pool in pools:
        if pool.seen.ready < pool.wanted.replicas:
            cause = pool.cause
            count = f"pool {pool.wanted.name}: {pool.seen.ready} of {pool.wanted.replicas} replicas are ready"
            if cause is not None and cause.reason == "Unschedulable":
                return Finding("Scaled", "False", "InsufficientCapacity", f"{count}; {cause.message}")
            return Finding("Scaled", "False", cause.reason if cause else "Scaling", count)
    if scaled.settings.pinned:
        return Finding("Scaled", "True", "Pinned", _TEXTS["Pinned"])
    if not scaled.scales:
        off = scaled.settings.mode == "Off"
        text = _TEXTS["Off"] if off else "no pool has replicas.max above replicas.min, so none is scaled"
        return Finding("Scaled", "True", "Off" if off else "Fixed", text)
    if scaled.settings.mode == "Observe":
        return Finding("Scaled", "True", "Observed", "decisions are only told, in status.pools and status.scaling")
    return Finding("Scaled", "True", "TargetReached", "every pool has the replicas that its traffic needs")


def _forecast_ready(decision: Decision, previous: Mapping[str, Any]) -> Finding:
    doubt = decision.doubt
    if decision.reason in _BLIND:
        return Finding("ForecastReady", "Unknown", decision.reason, "replicas are held, so no forecast is acted on")
    if not doubt:
        return Finding("ForecastReady", "True", "Used", "a forecast is acted on")
    if doubt == "there is no forecast":
        return Finding("ForecastReady", "False", "NoForecast", "there is no forecast; live metrics alone decide")
    if doubt == "forecasts are only observed":
        return Finding("ForecastReady", "True", "Observed", "a forecast is read and, by scaling.forecast, not acted on")
    # Such a text has numbers of the moment: the one stays that was true when it began.
    was: Mapping[str, Any] = next((one for one in previous.get("conditions", ()) if one["type"] == "ForecastReady"), {})
    text = was["message"] if was.get("reason") == "NotBelieved" else f"{doubt}; live metrics alone decide"
    return Finding("ForecastReady", "False", "NotBelieved", text)


def _changes(scaled: Scaled, previous: Mapping[str, Any]) -> list[dict[str, Any]]:
    observed = scaled.settings.mode == "Observe"
    known = {one["name"]: one for one in previous.get("pools", ())}
    changes = []
    for name, after in (scaled.decision.wanted if observed else scaled.decision.targets).items():
        was = known.get(name)
        before = None if was is None else was.get("recommended", was["desired"]) if observed else was["desired"]
        if before is not None and before != after:
            changes.append({"name": name, "before": before, "after": after})
    return changes if scaled.scales else []


def _numbers(values: Mapping[str, float]) -> list[dict[str, str]]:
    return [{"name": name, "value": decimal(value)} for name, value in sorted(values.items()) if isfinite(value)]
