"""The chart's policy on what a container runs, as the API server applies it to people with few rights."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.policies import APPLY, CHOSEN, IMAGE, PATHS, SERVICES_ONLY, refusal
from tests.api.support import (
    MODEL_SERVICES,
    OURS,
    REVISIONS,
    ROOT,
    Api,
    Refused,
    account_kubeconfig,
    eventually,
    new_namespace,
    operator_kubeconfig,
    remove_namespace,
)

PODS = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]


@pytest.fixture(scope="module")
def builder(api: Api, kubeconfig: Path, tenant: Api, tmp_path_factory: pytest.TempPathFactory) -> Api:
    """Someone who may create pods too."""
    target = tmp_path_factory.mktemp("builder") / "kubeconfig"
    made = Api(account_kubeconfig(kubeconfig, api, "builder", [*SERVICES_ONLY, *PODS], target), api.namespace)
    eventually(lambda: refusal(made, "probe", runtime=CHOSEN) == "")
    return made


def test_plain_services_need_no_pods(tenant: Api) -> None:
    assert refusal(tenant, "plain") == ""
    assert refusal(tenant, "plain", runtime={"name": "ModelServer"}) == ""
    assert refusal(tenant, "plain", runtime={"args": []}) == ""


CHOICES: list[tuple[str, object]] = [
    ("image", IMAGE),
    ("args", ["--verbose"]),
    ("command", ["sh"]),
    ("env", [{"name": "LD_PRELOAD", "value": "/x.so"}]),
]


@pytest.mark.parametrize(("field", "value"), CHOICES)
def test_who_may_not_create_pods_chooses_nothing(tenant: Api, field: str, value: object) -> None:
    said = refusal(tenant, "mine", runtime={field: value})
    user = f"system:serviceaccount:{tenant.namespace}:tenant"
    assert said == (
        f'modelservices.springtide.dev "mine" is forbidden: ValidatingAdmissionPolicy '
        f"'{tenant.namespace}-test-operator-runtime' with binding '{tenant.namespace}-test-operator-runtime' denied "
        f"request: spec.runtime.{field}: a change needs the right to create pods, which {user} lacks in namespace "
        f"{tenant.namespace}: leave it out or keep it as it is, or ask for a Role that allows create on pods"
    )
    said = refusal(tenant, "mine", pools=[{"name": "cpu", "runtime": {field: value}}])
    assert f"spec.pools[cpu].runtime.{field}: a change needs the right to create pods" in said


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"model": {"uri": "pvc://database/data"}}, "spec.model.uri"),
        ({"pools": [{"name": "cpu", "model": {"uri": "pvc://database"}}]}, "spec.pools[cpu].model.uri"),
        ({"model": {"uri": "hf://a/b"}, "cache": {"claimName": "database"}}, "spec.cache.claimName"),
    ],
    ids=str,
)
def test_who_may_not_create_pods_mounts_no_claim(tenant: Api, builder: Api, spec: dict[str, Any], field: str) -> None:
    said = refusal(tenant, "mine", **spec)
    assert f"{field}: mounting a PersistentVolumeClaim needs the right to create pods" in said
    assert refusal(builder, "mine", **spec) == ""


def test_who_may_not_read_a_secret_names_none(tenant: Api, api: Api, builder: Api) -> None:
    model = {"uri": "hf://a/b", "credentialsSecretName": "token"}
    said = refusal(builder, "mine", model=model)
    assert "spec.model.credentialsSecretName token: using a Secret for this uri needs the right to get it" in said
    said = refusal(tenant, "mine", pools=[{"name": "cpu", "model": model}])
    assert "spec.pools[cpu].model.credentialsSecretName token: using a Secret" in said
    api.create("private", model=model)
    tenant.edit("private", {"replicas": 2})
    with pytest.raises(Refused, match="credentialsSecretName token: using a Secret for this uri"):
        tenant.edit("private", {"model": {"uri": "hf://a/private"}})
    tenant.delete(MODEL_SERVICES, "private")


def test_who_may_create_pods_chooses(builder: Api, tenant: Api) -> None:
    builder.create("theirs", runtime=CHOSEN)
    builder.edit("theirs", {"runtime": {"image": f"{IMAGE}.1", "args": ["--quiet"]}})
    builder.delete(MODEL_SERVICES, "theirs")


def test_pods_of_another_namespace_do_not_count(kubeconfig: Path, tenant: Api) -> None:
    other = new_namespace(kubeconfig, "other")
    roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    name = {"metadata": {"name": "pods"}}
    other.call("POST", f"{roles}/roles", name | {"rules": PODS})
    subject = {"kind": "ServiceAccount", "name": "tenant", "namespace": tenant.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pods"}
    other.call("POST", f"{roles}/rolebindings", name | {"roleRef": reference, "subjects": [subject]})
    asked = {"spec": {"resourceAttributes": {"namespace": other.namespace, "verb": "create", "resource": "pods"}}}
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    eventually(lambda: tenant.call("POST", reviews, asked)["status"]["allowed"])
    assert "needs the right to create pods" in refusal(tenant, "mine", runtime=CHOSEN)
    remove_namespace(other)


def test_administrators_apply_the_examples(api: Api, tenant: Api) -> None:
    for file in sorted((ROOT / "examples").glob("*.yaml")):
        one = yaml.safe_load(file.read_text())
        name, path = one["metadata"]["name"], OURS[one["kind"]]
        for _ in range(2):
            api.call("PATCH", f"{path}/{name}", one, APPLY, fieldManager="kubectl")
        api.delete(path, name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"image": "registry.example.com/team/server:v2"},
            "spec.runtime.image: a change needs the right",
        ),
        ({"image": None}, "spec.runtime.image: a change needs the right"),
        ({"args": ["--verbose", "--more"]}, "spec.runtime.args: a change needs the right"),
        ({"args": None}, "spec.runtime.args: a change needs the right"),
        ({"name": "VLLM"}, "spec.runtime.name: a change beside an image"),
    ],
    ids=str,
)
def test_changes_are_refused(tenant: Api, chosen: str, change: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as refused:
        tenant.edit(chosen, {"runtime": change})
    assert words in str(refused.value)


def test_nobody_writes_the_templates_that_the_operator_runs(api: Api, tenant: Api) -> None:
    labels = {"springtide.dev/service": "chat"}
    record = {"metadata": {"name": "chat-cpu-0", "labels": labels}, "data": {}, "revision": 1}
    with pytest.raises(Refused, match="is written by the Springtide operator alone"):
        api.call("POST", REVISIONS, record)
    api.call("POST", REVISIONS, record | {"metadata": {"name": "chat-cpu-0"}})


def test_unrelated_edits_pass(tenant: Api, chosen: str) -> None:
    tenant.edit(chosen, {"replicas": 3})
    tenant.patch(f"{MODEL_SERVICES}/{chosen}/scale", {"spec": {"replicas": 2}})
    tenant.patch(f"{MODEL_SERVICES}/{chosen}", {"metadata": {"labels": {"team": "a"}}})
    whole = tenant.get(MODEL_SERVICES, chosen)
    whole["spec"]["model"]["revision"] = "v2"
    whole["spec"]["model"]["uri"] = "oci://models.springtide.dev/chat"
    assert tenant.call("PUT", f"{MODEL_SERVICES}/{chosen}", whole)["spec"]["runtime"] == CHOSEN
    # Back to what the operator was installed with, which anyone may create.
    tenant.edit(chosen, {"runtime": None})


def test_status_passes(api: Api, kubeconfig: Path, chosen: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    limited = operator_kubeconfig(kubeconfig, api, tmp_path_factory.mktemp("operator") / "kubeconfig")
    operator = Api(limited, api.namespace)
    eventually(lambda: operator.get(MODEL_SERVICES, chosen))
    operator.patch(f"{MODEL_SERVICES}/{chosen}/status", {"status": {"replicas": 1}})
    assert api.status(chosen)["replicas"] == 1


def test_expressions_are_typed(api: Api, tenant: Api, policies: list[dict[str, Any]]) -> None:
    kind = "ValidatingAdmissionPolicy"
    names = {one["metadata"]["name"] for one in policies if one["kind"] == kind}

    def checked() -> list[dict[str, Any]]:
        found = api.list(PATHS[kind])
        return [
            found[name]["status"]["typeChecking"] for name in names if "typeChecking" in found[name].get("status", {})
        ]

    eventually(lambda: len(checked()) == 3)
    assert checked() == [{}, {}, {}]
