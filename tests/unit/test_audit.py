"""Reading an audit log that grows, for the benches."""

import json
from pathlib import Path
from typing import Any

from hack.bench.audit import Audit

OURS = "system:serviceaccount:a:operator"


def event(verb: str = "patch", user: str = OURS, stage: str = "ResponseComplete", **target: str) -> str:
    whole: dict[str, Any] = {"stage": stage, "verb": verb, "user": {"username": user, "uid": "1"}}
    return json.dumps(whole | {"objectRef": {"resource": "deployments"} | target}, separators=(",", ":")) + "\n"


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


def test_writes_of_one_user_are_counted(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(event())
    audit = Audit(log, OURS)
    assert audit.read().total() == 0, "what was there before does not count"
    append(log, event() + event(resource="modelservices", subresource="status") + event("get") + event("watch"))
    append(log, event(resource="leases") + event(user="someone") + event(stage="ResponseStarted"))
    assert audit.read() == {"patch deployments": 1, "patch modelservices/status": 1}
    audit.close()


def test_half_a_line_waits_for_the_rest(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.touch()
    audit = Audit(log, OURS)
    append(log, event() + event("create")[:40])
    assert audit.read() == {"patch deployments": 1}
    append(log, event("create")[40:])
    assert audit.read() == {"patch deployments": 1, "create deployments": 1}
    audit.close()


def test_a_log_that_is_rotated(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.touch()
    audit = Audit(log, OURS)
    append(log, event())
    audit.read()
    append(log, event())
    log.rename(tmp_path / "audit-1.log")
    log.write_text(event())
    assert audit.read() == {"patch deployments": 3}
    audit.close()
