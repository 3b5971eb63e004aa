"""The operator as a process against a real API server and controller manager; there are no nodes."""

import contextlib
import itertools
import re
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.api.support import (
    ACCOUNTS,
    CONFIG_MAPS,
    DEFINITION,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    EVENTS,
    MODEL_SERVICES,
    NETWORK_POLICIES,
    PODS,
    REVISIONS,
    SERVICES,
    Api,
    Operator,
    Refused,
    eventually,
    install_definitions,
)

pytestmark = pytest.mark.usefixtures("operator")


def settled(api: Api, name: str) -> bool:
    """Whether the newest generation was acted on and its Deployment is as it will be."""
    live = api.get(MODEL_SERVICES, name)
    status = live.get("status", {})
    return (
        status.get("observedGeneration") == live["metadata"]["generation"]
        and status["replicas"] == status["targetReplicas"]
        and bool(api.condition(name, "Accepted"))
    )


def acted_on(api: Api, name: str) -> bool:
    """Whether the newest generation was acted on, though without nodes no rollout ever ends."""
    live = api.get(MODEL_SERVICES, name)
    return bool(live["status"]["observedGeneration"] == live["metadata"]["generation"])


def named(api: Api, path: str, name: str) -> set[str]:
    return set(api.list(path, f"springtide.dev/service={name}"))


def test_children_and_status(api: Api) -> None:
    api.create("chat", pools=[{"name": "cpu", "resources": {"requests": {"cpu": "0.5"}}}])
    eventually(lambda: settled(api, "chat"))
    assert named(api, DEPLOYMENTS, "chat") == {"chat-cpu"}
    assert named(api, SERVICES, "chat") == {"chat-cpu", "chat"}
    status = api.status("chat")
    assert status["url"] == f"http://chat.{api.namespace}.svc"
    assert status["targetReplicas"] == 1
    assert api.condition("chat", "Accepted")["status"] == "True"
    assert api.condition("chat", "Ready")["status"] == "False"
    # The pod passes the restricted standard that the namespace enforces.
    eventually(lambda: len(api.list(PODS, status["selector"])) == 1)


def test_no_annotation_and_no_finalizer(api: Api) -> None:
    api.create("plain")
    eventually(lambda: settled(api, "plain"))
    metadata = api.get(MODEL_SERVICES, "plain")["metadata"]
    assert not {"annotations", "finalizers"} & metadata.keys()


def test_scale(api: Api) -> None:
    api.create("scaled", pools=[{"name": "cpu", "replicas": {"max": 2}}])
    eventually(lambda: settled(api, "scaled"))
    path = f"{MODEL_SERVICES}/scaled/scale"
    api.patch(path, {"spec": {"replicas": 2}})
    eventually(lambda: api.call("GET", path)["status"].get("replicas") == 2)
    selector = api.call("GET", path)["status"]["selector"]
    assert len(api.list(PODS, selector)) == 2
    with pytest.raises(Refused, match=r"spec.pools\[0\].replicas.max"):
        api.patch(path, {"spec": {"replicas": 3}})
    api.edit("scaled", {"replicas": None})
    eventually(lambda: api.condition("scaled", "Scaled")["reason"] == "MetricsStale")
    assert api.status("scaled")["targetReplicas"] == 2, "scaling goes on from what runs"
    api.edit("scaled", {"pools": [{"name": "cpu"}]})
    eventually(lambda: api.status("scaled")["replicas"] == 1)


def test_drift_is_repaired_and_what_is_not_ours_is_left(api: Api) -> None:
    api.create("drift")
    eventually(lambda: settled(api, "drift"))
    deployment = f"{DEPLOYMENTS}/drift-cpu"
    theirs = {"metadata": {"annotations": {"team": "a"}}, "spec": {"minReadySeconds": 3}}
    api.patch(deployment, theirs | {"spec": {"minReadySeconds": 3, "replicas": 7, "revisionHistoryLimit": 9}})
    eventually(lambda: api.call("GET", deployment)["spec"]["revisionHistoryLimit"] == 3, 10)
    live = api.call("GET", deployment)
    assert live["spec"]["replicas"] == 1
    assert live["spec"]["minReadySeconds"] == 3
    assert live["metadata"]["annotations"]["team"] == "a"

    uid = api.get(SERVICES, "drift")["metadata"]["uid"]
    api.delete(SERVICES, "drift")
    eventually(lambda: api.get(SERVICES, "drift")["metadata"]["uid"] != uid, 10)
    api.patch(f"{SERVICES}/drift", {"metadata": {"labels": {"springtide.dev/service": None}}})
    eventually(lambda: "drift" in named(api, SERVICES, "drift"), 10)


EDITS = {
    DEPLOYMENTS: ("every-cpu", {"spec": {"progressDeadlineSeconds": 9}}),
    SERVICES: ("every", {"spec": {"selector": {"springtide.dev/online": "false"}}}),
    ACCOUNTS: ("every-model-server", {"automountServiceAccountToken": True}),
    NETWORK_POLICIES: ("every", {"spec": {"podSelector": {"matchLabels": {"springtide.dev/service": "other"}}}}),
    DISRUPTION_BUDGETS: ("every-cpu", {"spec": {"maxUnavailable": 7}}),
    CONFIG_MAPS: ("every-runtime-policy", {"data": {"policy.json": '{"maxOutputTokens": 1}'}}),
    REVISIONS: ("", {"revision": 7}),
}


def test_each_kind_of_child_is_repaired_and_made_anew(api: Api) -> None:
    def ours(live: Any) -> Any:
        return {key: value for key, value in live.items() if key not in {"metadata", "status"}}

    api.create("every")
    eventually(lambda: settled(api, "every") and named(api, REVISIONS, "every"))
    for path, (name, edit) in EDITS.items():
        name = name or next(iter(named(api, path, "every")))
        before = api.get(path, name)
        assert ours(api.patch(f"{path}/{name}", edit)) != ours(before), path
        if path != REVISIONS:
            eventually(lambda path=path, name=name, before=before: ours(api.get(path, name)) == ours(before), 10)  # type: ignore[misc]
        api.delete(path, name)
        uid = before["metadata"]["uid"]
        eventually(lambda path=path, name=name, uid=uid: api.get(path, name)["metadata"]["uid"] != uid, 10)  # type: ignore[misc]


def test_an_immutable_field_that_differs_is_made_anew(api: Api) -> None:
    api.create("stuck")
    eventually(lambda: settled(api, "stuck"))
    live = api.get(DEPLOYMENTS, "stuck-cpu")
    api.delete(MODEL_SERVICES, "stuck")
    eventually(lambda: not named(api, DEPLOYMENTS, "stuck"), 30)
    # What an operator of another version might have left: ours in name, owner and manager, with another selector.
    uid = api.create("stuck", replicas=0)["metadata"]["uid"]
    old = {"app": "old"}
    template = live["spec"]["template"]
    template["metadata"] = {"labels": template["metadata"]["labels"] | old}
    owner = live["metadata"]["ownerReferences"][0] | {"uid": uid}
    metadata = {"name": "stuck-cpu", "labels": live["metadata"]["labels"], "ownerReferences": [owner]}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata}
    body["spec"] = {"selector": {"matchLabels": old}, "template": template}

    def planted() -> Any:
        with contextlib.suppress(Refused):
            api.delete(DEPLOYMENTS, "stuck-cpu")
        applied = api.call(
            "PATCH", f"{DEPLOYMENTS}/stuck-cpu", body, "application/apply-patch+yaml", fieldManager="springtide"
        )
        return applied["spec"]["selector"]["matchLabels"] == old

    eventually(planted)
    eventually(lambda: api.get(DEPLOYMENTS, "stuck-cpu")["spec"]["selector"]["matchLabels"] != old, 15)


def test_events_tell_what_happened_once(api: Api) -> None:
    def told() -> dict[str, Any]:
        found = api.list(EVENTS).values()
        return {one["reason"]: one for one in found if one["regarding"]["name"] == "told"}

    api.create("told", pools=[{"name": "cpu", "resources": {"limits": {"/": "1"}}}])
    event: Any = eventually(lambda: told().get("InvalidSpec"))
    assert event["type"] == "Warning"
    assert "limits" in event["note"]
    api.edit("told", {"pools": [{"name": "cpu"}]})
    eventually(lambda: api.condition("told", "Accepted")["status"] == "True")
    api.edit("told", {"model": {"uri": "oci://models.springtide.dev/chat:v2"}})
    moved: Any = eventually(lambda: told().get("RevisionChanged"))
    assert "pool cpu moves from revision" in moved["note"]
    assert len([one for one in api.list(EVENTS).values() if one["regarding"]["name"] == "told"]) == len(told())


def test_a_name_that_is_taken_is_not_touched(api: Api) -> None:
    port = {"ports": [{"port": 1}]}
    api.call("POST", SERVICES, {"metadata": {"name": "taken-cpu"}, "spec": port})
    before = api.get(SERVICES, "taken-cpu")
    api.create("taken")
    refused = eventually(lambda: api.condition("taken", "Accepted"))
    assert (refused["status"], refused["reason"]) == ("False", "NameConflict")
    assert "Service taken-cpu" in refused["message"]
    assert api.condition("taken", "Stalled")["status"] == "True"
    assert api.get(SERVICES, "taken-cpu") == before
    api.delete(SERVICES, "taken-cpu")
    eventually(lambda: api.condition("taken", "Accepted")["status"] == "True", 30)


def test_removed_pools_and_fields_go(api: Api) -> None:
    pools: list[dict[str, Any]] = [{"name": "a", "nodeSelector": {"x": "y"}}, {"name": "b", "tier": "Offline"}]
    api.create("pruned", pools=pools)
    eventually(lambda: settled(api, "pruned") and named(api, DEPLOYMENTS, "pruned") == {"pruned-a", "pruned-b"})
    api.edit("pruned", {"pools": [{"name": "a"}]})
    eventually(lambda: named(api, DEPLOYMENTS, "pruned") == {"pruned-a"})
    eventually(lambda: named(api, SERVICES, "pruned") == {"pruned-a", "pruned"})
    pod = api.get(DEPLOYMENTS, "pruned-a")["spec"]["template"]["spec"]
    assert "nodeSelector" not in pod


def test_good_bad_good_gives_the_same_children(api: Api) -> None:
    good = {"cpu": "1"}
    api.create("again", pools=[{"name": "cpu", "resources": {"limits": good}}])
    eventually(lambda: settled(api, "again"))
    before = api.get(DEPLOYMENTS, "again-cpu")["spec"]
    # Admission can't know that a domain has no such form; the API server refuses the pod template.
    api.edit("again", {"pools": [{"name": "cpu", "resources": {"limits": {"/": "1"}}}]})
    eventually(lambda: api.condition("again", "Accepted").get("reason") == "InvalidSpec")
    assert "limits" in api.condition("again", "Accepted")["message"]
    assert api.get(DEPLOYMENTS, "again-cpu")["spec"] == before, "what serves goes on serving"
    api.edit("again", {"pools": [{"name": "cpu", "resources": {"limits": good}}]})
    eventually(lambda: api.condition("again", "Accepted")["status"] == "True")
    assert api.get(DEPLOYMENTS, "again-cpu")["spec"] == before


def test_two_ways_to_a_spec_give_the_same_children(api: Api) -> None:
    def shapes(name: str) -> Any:
        def shape(live: Any) -> str:
            kept = {key: value for key, value in live.items() if key not in {"metadata", "status"}}
            return str(kept | {"labels": live["metadata"]["labels"]}).replace(name, "NAME")

        paths = (DEPLOYMENTS, SERVICES, ACCOUNTS, NETWORK_POLICIES, DISRUPTION_BUDGETS, CONFIG_MAPS)
        return [sorted(map(shape, api.list(path, f"springtide.dev/service={name}").values())) for path in paths]

    def addressless(shape: Any) -> Any:
        return [[re.sub(r"'clusterIPs?': (\[[^]]*]|'[^']*'),? ?", "", one) for one in kind] for kind in shape]

    end = {
        "model": {"uri": "oci://x.io/y:v2"},
        "pools": [{"name": "a"}, {"name": "b", "tier": "Offline"}],
        "replicas": 2,
    }
    api.create("straight", **end)
    api.create("detour", pools=[{"name": "c"}, {"name": "a", "nodeSelector": {"x": "y"}}], replicas=1)
    eventually(lambda: acted_on(api, "straight") and acted_on(api, "detour"))
    api.edit("detour", {"pools": [{"name": "b"}], "runtime": {"args": ["--verbose"]}})
    api.edit("detour", {**end, "runtime": None})
    eventually(lambda: acted_on(api, "detour") and named(api, DEPLOYMENTS, "detour") == {"detour-a", "detour-b"})
    eventually(lambda: addressless(shapes("detour")) == addressless(shapes("straight")))


def test_a_missing_model_shows_with_its_cause(api: Api) -> None:
    api.create("missing")
    eventually(lambda: settled(api, "missing"))
    pods = eventually(lambda: api.list(PODS, "springtide.dev/service=missing"))
    # What a kubelet writes when it can't pull an image volume.
    waiting = {
        "reason": "ErrImagePull",
        "message": 'failed to pull image "models.springtide.dev/chat:v1": not found',
    }
    container = {
        "name": "model-server",
        "image": "springtide/model-server:test",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": {"waiting": waiting},
    }
    api.patch(f"{PODS}/{next(iter(pods))}/status", {"status": {"containerStatuses": [container]}})
    eventually(lambda: api.condition("missing", "Available")["reason"] == "ModelPullFailed", 10)
    assert "models.springtide.dev/chat:v1" in api.condition("missing", "Ready")["message"]


def test_a_stored_spec_that_is_invalid_is_a_condition(api: Api) -> None:
    loose = api.call("GET", DEFINITION)["spec"]["versions"]
    del loose[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["model"]["properties"]["task"]["enum"]
    loose[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["model"]["properties"]["task"][
        "maxLength"
    ] = 64
    try:
        api.patch(DEFINITION, {"spec": {"versions": loose}})
        model = {"uri": "oci://x/y", "task": "Draw"}
        eventually(lambda: api.create("stored", model=model))
        refused = eventually(lambda: api.condition("stored", "Accepted"))
    finally:
        install_definitions(api)
    assert (refused["status"], refused["reason"]) == ("False", "InvalidSpec")
    assert "spec.model.task" in refused["message"]
    assert named(api, DEPLOYMENTS, "stored") == set()


def test_what_a_newer_version_wrote_is_left_alone(api: Api) -> None:
    api.create("newer")
    eventually(lambda: settled(api, "newer"))
    before = api.get(DEPLOYMENTS, "newer-cpu")["spec"]
    newer = api.call("GET", DEFINITION)["spec"]["versions"]
    newer[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["future"] = {"type": "string"}
    try:
        api.patch(DEFINITION, {"spec": {"versions": newer}})
        # A watch that is open still goes by the old definition for a moment, and drops the field.
        texts = (str(number) for number in itertools.count())

        def refused() -> bool:
            api.edit("newer", {"future": next(texts)})
            return bool(api.condition("newer", "Accepted")["status"] == "False")

        eventually(refused, 30)
        assert api.condition("newer", "Accepted")["message"] == "spec.future: unknown field"
        assert "future" in api.get(MODEL_SERVICES, "newer")["spec"]
        assert api.get(DEPLOYMENTS, "newer-cpu")["spec"] == before
    finally:
        install_definitions(api)


def test_deletion_leaves_nothing(api: Api) -> None:
    def nothing_left(path: str) -> bool:
        return not named(api, path, "gone")

    api.create("gone")
    eventually(lambda: settled(api, "gone"))
    api.delete(MODEL_SERVICES, "gone")
    for path in (DEPLOYMENTS, SERVICES, PODS):
        eventually(partial(nothing_left, path), 30)


def test_recreated_at_once(api: Api) -> None:
    api.create("phoenix")
    eventually(lambda: settled(api, "phoenix"))
    api.delete(MODEL_SERVICES, "phoenix")
    uid = api.create("phoenix")["metadata"]["uid"]

    def adopted() -> bool:
        live = api.list(DEPLOYMENTS, "springtide.dev/service=phoenix") | api.list(
            SERVICES, "springtide.dev/service=phoenix"
        )
        return len(live) >= 2 and all(one["metadata"]["ownerReferences"][0]["uid"] == uid for one in live.values())

    eventually(adopted, 40)


def test_users_errors_are_no_errors_of_the_operator(operator: Operator) -> None:
    assert operator.process.poll() is None
    assert not [record for record in operator.records() if "exception" in record]
    assert not [record for record in operator.records() if record.get("reason") == "Forbidden"]
    assert all({"time", "level", "logger", "message"} <= record.keys() for record in operator.records())


def test_idle_is_silent(api: Api) -> None:
    def still() -> bool:
        before = api.versions(), api.applies()
        time.sleep(2)
        return (api.versions(), api.applies()) == before

    eventually(still, 30)


def test_definition_is_installed_once(api: Api, tmp_path: Path) -> None:
    # A second apply of the same definition changes nothing, so the generated file is what the server keeps.
    before = api.call("GET", DEFINITION)["metadata"]["resourceVersion"]
    install_definitions(api)
    assert api.call("GET", DEFINITION)["metadata"]["resourceVersion"] == before
