"""The chart's allow-list of images, as the API server applies it to administrators too."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.api.policies import APPLY, CONFIG_MAPS, PARAMETERS, refusal, render
from tests.api.support import MODEL_SERVICES, Api, Refused, eventually

DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def allow(api: Api, tenant: Api) -> Iterator[Callable[..., None]]:
    """Set the allow-list, and wait until the API server goes by it."""

    def set_list(*entries: str) -> None:
        api.patch(f"{CONFIG_MAPS}/{PARAMETERS}", {"data": {"images": "\n".join(entries)}})
        shown = f"use an image of {', '.join(entry.rstrip('/') for entry in entries)}, or ask" if entries else ""
        unlisted = {"uri": "oci://unlisted.example.com/probe"}
        eventually(lambda: [said := refusal(api, "probe", model=unlisted)] and (shown in said if shown else not said))

    yield set_list
    set_list()


@pytest.mark.parametrize(
    ("entries", "spec"),
    [
        (["registry.example.com/models"], {"model": {"uri": "oci://registry.example.com/models/chat:v1"}}),
        (["registry.example.com/models/"], {"model": {"uri": "oci://registry.example.com/models/chat:v1"}}),
        (["registry.example.com"], {"model": {"uri": "oci://registry.example.com/a/b/c:v1"}}),
        (["localhost:5000"], {"model": {"uri": f"oci://localhost:5000/a@{DIGEST}"}}),
        (["docker.io/team"], {"model": {"uri": "oci://team/chat:v1"}}),
        ([f"a.io/b@{DIGEST}"], {"model": {"uri": "oci://a.io/b", "revision": DIGEST}}),
        (["a.io/b:v1"], {"model": {"uri": "oci://a.io/b", "revision": "v1"}}),
        (["a.io/b", "docker.io/library"], {"model": {"uri": "oci://a.io/b:v1"}, "runtime": {"image": "server:v1"}}),
    ],
    ids=str,
)
def test_listed_images(api: Api, allow: Callable[..., None], entries: list[str], spec: dict[str, Any]) -> None:
    allow(*entries)
    assert refusal(api, "listed", **spec) == ""


@pytest.mark.parametrize(
    ("entry", "image", "shown"),
    [
        ("registry.example.com/models", "registry.example.com/models-of-others/chat:v1", ""),
        ("registry.example.com", "registry.example.com.evil.org/chat:v1", ""),
        ("registry.example.com", "registry.example.com:8443/chat:v1", ""),
        ("a.io/b:v1", "a.io/b:v10", ""),
        ("team.io", "team/chat:v1", "docker.io/"),
        ("docker.io/team", "docker.io.team/chat", ""),
        ("registry.example.com", "registry.example.com:v1", "docker.io/library/"),
        ("localhost", "LOCALHOST/chat", ""),
    ],
)
def test_images_that_only_look_listed(api: Api, allow: Callable[..., None], entry: str, image: str, shown: str) -> None:
    allow(entry)
    said = refusal(api, "unlisted", model={"uri": f"oci://{entry.split(':')[0]}/b:v1"}, runtime={"image": image})
    assert f"spec.runtime.image: {shown}{image} is not in the image allow-list" in said
    if "/" in image:
        said = refusal(api, "unlisted", model={"uri": f"oci://{image}"})
        assert f"spec.model.uri: {shown}{image} is not in the image allow-list" in said


def test_an_unlisted_image_is_named(api: Api, allow: Callable[..., None]) -> None:
    allow("registry.example.com/models", "docker.io/springtide")
    model = {"uri": "oci://registry.example.com/models/chat:v1"}
    who = f"'{api.namespace}-test-operator-images'"
    advice = (
        "is not in the image allow-list of this cluster; use an image of registry.example.com/models, "
        "docker.io/springtide, or ask an administrator to add its registry or repository to admission.imageAllowList "
        "of the Springtide chart"
    )
    head = f"ValidatingAdmissionPolicy {who} with binding {who} denied request"
    said = refusal(api, "unlisted", model=model, runtime={"image": "team/server:v1"})
    assert said.endswith(f"{head}: spec.runtime.image: docker.io/team/server:v1 {advice}"), said
    said = refusal(api, "unlisted", model={"uri": "oci://elsewhere.org/chat", "revision": "v2"})
    assert said.endswith(f"{head}: spec.model.uri: elsewhere.org/chat:v2 {advice}"), said
    pools = [{"name": "cpu", "runtime": {"image": "team/server:v1"}}]
    said = refusal(api, "unlisted", model=model, pools=pools)
    assert said.endswith(f"{head}: spec.pools[cpu].runtime.image: docker.io/team/server:v1 {advice}"), said
    pools = [{"name": "cpu", "model": {"uri": "oci://elsewhere.org/chat:v2"}}]
    said = refusal(api, "unlisted", model=model, pools=pools)
    assert said.endswith(f"{head}: spec.pools[cpu].model.uri: elsewhere.org/chat:v2 {advice}"), said
    assert refusal(api, "unlisted", model={"uri": "hf://elsewhere/chat"}) == "", "what is no image is not pulled"


def test_a_list_too_long_for_a_message(api: Api, tenant: Api) -> None:
    entries = [f"registry-{number}.example.com/team/models" for number in range(500)]
    api.patch(f"{CONFIG_MAPS}/{PARAMETERS}", {"data": {"images": "\n".join(entries)}})
    try:
        advice = "an image of spec is not in the image allow-list of this cluster; ask an administrator to add"
        eventually(lambda: advice in refusal(api, "unlisted"))
        assert refusal(api, "listed", model={"uri": f"oci://{entries[-1]}:v1"}) == ""
    finally:
        api.patch(f"{CONFIG_MAPS}/{PARAMETERS}", {"data": {"images": ""}})
        eventually(lambda: refusal(api, "unlisted") == "")


def test_a_shorter_list_freezes_nothing(api: Api, chosen: str, allow: Callable[..., None]) -> None:
    allow("docker.io/springtide")
    api.edit(chosen, {"replicas": 2})
    with pytest.raises(Refused, match=r"spec\.runtime\.image: registry\.example\.com/team/server:v2 is not in"):
        api.edit(chosen, {"runtime": {"image": "registry.example.com/team/server:v2"}})
    with pytest.raises(Refused, match=r"spec\.model\.uri: models\.springtide\.dev/chat:v2 is not in"):
        api.edit(chosen, {"model": {"uri": "oci://models.springtide.dev/chat:v2"}})


def test_without_its_parameters_nothing_new_is_taken(
    api: Api, chosen: str, allow: Callable[..., None], policies: Any
) -> None:
    allow("docker.io/springtide")
    api.delete(CONFIG_MAPS, PARAMETERS)
    try:
        eventually(lambda: "no params found" in refusal(api, "unlisted"))
        with pytest.raises(Refused, match="no params found"):
            api.edit(chosen, {"replicas": 2})
        # Subresources are no matter of the policy.
        api.patch(f"{MODEL_SERVICES}/{chosen}/scale", {"spec": {"replicas": 2}})
    finally:
        parameters = next(one for one in policies if one["kind"] == "ConfigMap")
        api.call("PATCH", f"{CONFIG_MAPS}/{PARAMETERS}", parameters, APPLY, fieldManager="tests", force="true")
        allow()


def test_the_chart_refuses_entries_without_a_registry() -> None:
    with pytest.raises(AssertionError, match="must begin with a registry"):
        render("default", "--set", "admission.imageAllowList={springtide}")
    lists = [
        one["data"] for one in render("default", "--set", "admission.imageAllowList={a.io,b.io/c}") if "data" in one
    ]
    assert lists == [{"images": "a.io\nb.io/c"}]
