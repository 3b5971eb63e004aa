"""What an API server's audit log says about an account: which rights it used, and which it lacked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hack.cluster.spec import Spec

# An authorizer learns of new rights a moment after they were written.
_GRACE_SECONDS = 3.0
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Request:
    """A request as it was answered; `denied` when the account lacked the right."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    code: int
    time: float
    denied: bool

    @property
    def rights(self) -> set[tuple[str, str, str]]:
        """Return what rules must grant for it: a server-side apply that makes an object needs two rights."""
        verbs = (self.verb, "create") if self.verb == "patch" and self.code == 201 else (self.verb,)
        return {(self.group, self.resource, verb) for verb in verbs}

    @property
    def writes(self) -> bool:
        """Tell whether it is anything but a read."""
        return self.verb not in ("get", "list", "watch")


def requests(spec: Spec) -> list[Request]:
    """Return all requests about objects, in order; long ones, such as watches, once each when they begin."""
    return sorted(_read(spec.logs), key=lambda one: one.time)


def _read(logs: Path) -> Iterator[Request]:
    for file in logs.glob("audit*.log"):
        for line in file.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:  # the line that is being written
                continue
            # a watch is logged when it begins and again when it ends
            if "objectRef" in event and not (event["verb"] == "watch" and event["stage"] == "ResponseComplete"):
                yield _request(event)


def _request(event: dict[str, Any]) -> Request:
    about = event["objectRef"]
    resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
    return Request(
        user=event["user"].get("username", ""),  # none: who asked was not known
        verb=event["verb"],
        group=about.get("apiGroup", ""),
        resource=resource,
        namespace=about.get("namespace", ""),
        name=about.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        time=datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp(),
        denied=event.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid",
    )


def unexpected_denials(log: list[Request], users: set[str]) -> list[Request]:
    """Return the denials of accounts but those from when somebody takes rights away until they are given back.

    Rights are followed by namespace, those of the whole cluster under the empty name.
    """
    revoked: dict[str, float] = {}
    found = []
    for one in log:
        if one.group == _RBAC and one.writes and one.code < 400:
            gives = one.verb in ("create", "update", "patch")
            revoked[one.namespace] = one.time + _GRACE_SECONDS if gives else float("inf")
        elif one.denied and one.user in users:
            account = one.user.split(":")[2]
            if all(one.time > revoked.get(scope, 0) for scope in {"", one.namespace, account}):
                found.append(one)
    return found
