"""What deserves an Event: pure, from the status before and after."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# These come and go with every start and every edit: the conditions tell them.
_ORDINARY = {"Starting", "Progressing", "Ready", "ScaledToZero", "Accepted"}


@dataclass(frozen=True)
class Note:
    """An Event before it has its times."""

    type: str
    reason: str
    text: str


def notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Note]:
    """Return what is new and worth telling: a service that became (un)available, a new cause, a new revision."""
    # Several conditions may be false for one reason.
    return list({note.reason: note for note in _notes(before, after)}.values())


def _notes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Note]:
    revisions = {one["name"]: one.get("revision", "") for one in before.get("pools", ())}
    for pool in after.get("pools", ()):
        old, new = revisions.get(pool["name"], ""), pool.get("revision", "")
        if old and new != old:
            yield Note("Normal", "RevisionChanged", f"pool {pool['name']} moves from revision {old} to {new}")
    decided = _decision(after)
    if decided and decided != _decision(before):
        yield Note("Normal", decided["reason"], _told(decided))
    was = {one["type"]: one for one in before.get("conditions", ())}
    for condition in after.get("conditions", ()):
        old_one = was.get(condition["type"], {})
        if (old_one.get("status"), old_one.get("reason")) == (condition["status"], condition["reason"]):
            continue
        if condition["type"] in {"Accepted", "Available", "Ready"} and condition["status"] != "True":
            if condition["reason"] not in _ORDINARY:
                yield Note("Warning", condition["reason"], condition["message"])
        elif condition["type"] == "Available" and old_one.get("status") != "True":
            yield Note("Normal", "Available", condition["message"])


def _decision(status: Mapping[str, Any]) -> Mapping[str, Any]:
    decisions: Sequence[Mapping[str, Any]] = (status.get("scaling") or {}).get("decisions", ())
    return decisions[0] if decisions else {}


def _told(decision: Mapping[str, Any]) -> str:
    pools = ", ".join(f"{one['name']} {one['before']} → {one['after']}" for one in decision["pools"])
    return f"{'would scale' if decision['mode'] == 'Observe' else 'scales'} {pools}: {decision['message']}"
