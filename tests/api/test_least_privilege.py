"""The chart grants what the operator uses, and nothing else. Runs last, on the audit logs of the whole run."""

import pytest

from hack.cluster.spec import Spec, clusters
from hack.demo.install import SYSTEM
from tests.api.support import ROOT, operator_rules
from tests.audit import Request, requests, unexpected_denials
from tests.conftest import SUFFIX

# The admission plug-in OwnerReferencesPermissionEnforcement checks it, which is off by default; no request is made.
UNSEEN = {("springtide.dev", "modelservices/finalizers", "update")}


def granted() -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in operator_rules()
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.fixture(scope="module")
def log() -> list[Request]:
    """Return the requests of all operators of this run, and what was done to their rights."""
    found = {spec.name: spec for spec in clusters()}
    mine: list[Spec] = [found[name] for name in (f"test-api{SUFFIX}", f"test-demo{SUFFIX}") if name in found]
    if not mine:
        pytest.skip("no cluster of this run is there")
    return [one for spec in mine for one in requests(spec)]


@pytest.fixture(scope="module")
def operators(log: list[Request]) -> set[str]:
    users = {one.user for one in log}
    demo = f"system:serviceaccount:{SYSTEM}:springtide-operator"
    made = {
        user
        for user in users
        if user == demo or (user.startswith("system:serviceaccount:") and user.endswith(":operator"))
    }
    if not made:
        pytest.skip("no operator has run")
    return made


def test_nothing_was_refused_for_want_of_a_right(log: list[Request], operators: set[str]) -> None:
    refused = {
        (one.user, one.verb, one.resource, one.namespace, one.name) for one in unexpected_denials(log, operators)
    }
    assert not refused


def test_every_right_was_used(log: list[Request], operators: set[str], request: pytest.FixtureRequest) -> None:
    ran = {item.path for item in request.session.items}
    missing = {file.name for file in (ROOT / "tests/api").glob("test_*.py") if file not in ran}
    options = request.config.option
    if missing or options.keyword or options.markexpr or any("::" in word for word in request.config.args):
        pytest.skip(f"only a run of all of tests/api uses every right; this one lacks {', '.join(missing) or 'tests'}")
    used = {right for one in log if one.user in operators and not one.denied for right in one.rights}
    unused = sorted(granted() - UNSEEN - used)
    assert not unused
    assert granted() >= UNSEEN
