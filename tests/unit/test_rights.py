"""What the test of least privilege reads out of an audit log."""

import json
from pathlib import Path
from typing import Any, cast

from hack.cluster.spec import Spec
from tests.audit import requests, unexpected_denials

USER = "system:serviceaccount:team-a:operator"


class Logs:
    def __init__(self, logs: Path) -> None:
        self.logs = logs


def event(second: int, verb: str, resource: str, user: str = USER, *, namespace: str = "team-a", **more: Any) -> str:
    about = {"resource": resource, "namespace": namespace, "apiGroup": more.pop("group", "")}
    time = f"2026-01-01T00:00:{second:02}.000000Z"
    base = {"stage": "ResponseComplete", "verb": verb, "user": {"username": user}, "objectRef": about}
    answer = {"requestReceivedTimestamp": time, "responseStatus": {"code": more.pop("code", 200)}}
    return json.dumps(base | answer | more)


def denied(second: int, **more: Any) -> str:
    return event(second, "list", "pods", code=403, annotations={"authorization.k8s.io/decision": "forbid"}, **more)


def rbac(second: int, verb: str, **more: Any) -> str:
    return event(second, verb, "rolebindings", "admin", group="rbac.authorization.k8s.io", **more)


def read(folder: Path, *lines: str) -> list[Any]:
    (folder / "audit.log").write_text("\n".join(lines))
    return requests(cast(Spec, Logs(folder)))


def test_a_denial_is_found_unless_the_right_was_taken_away(tmp_path: Path) -> None:
    assert len(unexpected_denials(read(tmp_path, denied(1)), {USER})) == 1
    assert not unexpected_denials(read(tmp_path, denied(1)), {"someone-else"})
    taken = rbac(1, "delete"), denied(2)
    assert not unexpected_denials(read(tmp_path, *taken), {USER})
    given = *taken, rbac(10, "create"), denied(12)
    assert not unexpected_denials(read(tmp_path, *given), {USER})
    assert len(unexpected_denials(read(tmp_path, *given, denied(14)), {USER})) == 1
    elsewhere = rbac(1, "delete", namespace="team-b"), denied(2)
    assert len(unexpected_denials(read(tmp_path, *elsewhere), {USER})) == 1
    cluster = rbac(1, "delete", namespace=""), denied(2)
    assert not unexpected_denials(read(tmp_path, *cluster), {USER})


def test_a_refusal_by_a_policy_is_no_denial(tmp_path: Path) -> None:
    assert not unexpected_denials(read(tmp_path, event(1, "patch", "services", code=403)), {USER})


def test_an_apply_that_makes_something_needs_two_rights(tmp_path: Path) -> None:
    (made, changed) = read(tmp_path, event(1, "patch", "services", code=201), event(2, "patch", "services"))
    assert made.rights == {("", "services", "patch"), ("", "services", "create")}
    assert changed.rights == {("", "services", "patch")}


def test_the_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    assert len(read(tmp_path, event(1, "get", "pods"), '{"stage": "Resp')) == 1
