"""Who may hold a Lease, and what its holder writes. Pure: client-go's rules, on values alone.

Nobody trusts anybody's wall clock. A reader takes the time at which its own clock saw the record change, and takes the
lease of another only when the record has stood still for as long as it says that it holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from springtide.clients.cluster import LEASE, Object


@dataclass(frozen=True)
class Timing:
    """In seconds: how long a lease holds, when its holder gives up renewing, how often it is looked at, and how long
    one request may take.

    `renew` is less than `lease`, so that the holder has stopped before anyone else may start.
    """

    lease: int = 15
    renew: float = 10
    retry: float = 2
    request: float = 4


@dataclass(frozen=True)
class Election:
    """Which Lease decides, and as whom this operator takes part."""

    namespace: str
    name: str
    identity: str
    timing: Timing = Timing()


@dataclass(frozen=True)
class Seen:
    """A Lease, and when the reader's own clock first saw its record as it is."""

    lease: Object
    at: float


def see(before: Seen | None, lease: Object, now: float) -> Seen:
    """Return what is known after a read; a record that did not change keeps its time."""
    if before is not None and _record(before.lease) == _record(lease):
        return Seen(lease, before.at)
    return Seen(lease, now)


def holder_of(lease: Mapping[str, Any]) -> str:
    """Return who holds a Lease; empty when nobody does."""
    return str(_record(lease).get("holderIdentity") or "")


def may_take(seen: Seen, election: Election, now: float) -> bool:
    """Tell whether the Lease is free, this operator's own, or run out."""
    holds = _record(seen.lease).get("leaseDurationSeconds") or election.timing.lease
    return holder_of(seen.lease) in ("", election.identity) or now >= seen.at + holds


def taken(lease: Object | None, election: Election, stamp: str) -> Object:
    """Return the Lease as this operator writes it to take it or to renew it; a new one without `lease`."""
    record = {
        "holderIdentity": election.identity,
        "leaseDurationSeconds": election.timing.lease,
        "renewTime": stamp,
    }
    if lease is None:
        metadata = {"name": election.name, "namespace": election.namespace}
        first = record | {"acquireTime": stamp, "leaseTransitions": 0}
        return {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": first}
    before = _record(lease)
    if holder_of(lease) != election.identity:
        record |= {"acquireTime": stamp, "leaseTransitions": (before.get("leaseTransitions") or 0) + 1}
    return lease | {"spec": before | record}


def released(lease: Object, stamp: str) -> Object:
    """Return the Lease as its holder writes it to give it away."""
    record = {"holderIdentity": "", "leaseDurationSeconds": 1, "acquireTime": stamp, "renewTime": stamp}
    return lease | {"spec": _record(lease) | record}


def _record(lease: Mapping[str, Any]) -> dict[str, Any]:
    return lease.get("spec") or {}
