"""Which fields are ours, and whether they are as wanted."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.api.quantity import canonical, parse_quantity, same_quantity
from springtide.manifests.ownership import Keyed, is_current, owned_fields

DESIRED = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "chat-cpu", "namespace": "a", "labels": {"x": "1"}},
    "spec": {
        "replicas": 1,
        "template": {"spec": {"containers": [{"name": "s", "resources": {"limits": {"cpu": "1000m"}}}]}},
    },
}


def live(replicas: int = 1, cpu: str = "1", **more: Any) -> dict[str, Any]:
    container = {"name": "s", "imagePullPolicy": "Always", "resources": {"limits": {"cpu": cpu}}}
    paths = {
        "f:metadata": {"f:labels": {"f:x": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:template": {
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"s"}': {".": {}, "f:name": {}, "f:resources": {"f:limits": {"f:cpu": {}}}},
                    }
                }
            },
        },
    }
    paths["f:spec"] |= more.pop("paths", {})
    manager = {"manager": "springtide", "operation": "Apply", "fieldsV1": paths}
    return {
        "metadata": {"name": "chat-cpu", "labels": {"x": "1", "theirs": "2"}, "managedFields": [manager]},
        "spec": {
            "replicas": replicas,
            "paused": True,
            "template": {"spec": {"containers": [{"name": "sidecar"}, container]}},
        },
    }


def test_cut_to_our_fields() -> None:
    assert owned_fields(live()) == {
        "metadata": {"labels": {"x": "1"}},
        "spec": {
            "replicas": 1,
            "template": {
                "spec": {"containers": Keyed({'{"name":"s"}': {"name": "s", "resources": {"limits": {"cpu": "1"}}}})}
            },
        },
    }


def test_nothing_of_ours() -> None:
    assert owned_fields({"metadata": {"managedFields": [{"manager": "kubectl", "operation": "Apply"}]}}) is None
    assert not is_current(DESIRED, None)


def test_defaults_and_the_fields_of_others_do_not_count() -> None:
    assert is_current(DESIRED, owned_fields(live()))


def test_a_changed_value_counts() -> None:
    assert not is_current(DESIRED, owned_fields(live(replicas=2)))
    assert not is_current(DESIRED, owned_fields(live(cpu="2")))


def test_a_field_that_is_no_longer_wanted_counts() -> None:
    assert not is_current(DESIRED, owned_fields(live(paths={"f:paused": {}})))


def test_a_field_that_someone_took_over_counts() -> None:
    taken = live()
    del taken["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:replicas"]
    assert not is_current(DESIRED, owned_fields(taken))


def test_only_resources_are_compared_as_quantities() -> None:
    desired = {"spec": {"text": "1000m"}}
    fields = [{"manager": "springtide", "operation": "Apply", "fieldsV1": {"f:spec": {"f:text": {}}}}]
    assert not is_current(desired, owned_fields({"metadata": {"managedFields": fields}, "spec": {"text": "1"}}))


@pytest.mark.parametrize(
    ("one", "other"),
    [("0.5", "500m"), (2, "2"), ("1024Mi", "1Gi"), ("1e3", "1k"), ("1E", "1000P"), (".5Gi", "512Mi"), ("0.1n", "1n")],
)
def test_same_amounts(one: str | int, other: str | int) -> None:
    assert same_quantity(one, other)


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1.2.3", "1ki", "one"])
def test_not_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)
    assert not same_quantity(text, text)


@given(st.integers(0, 10**12), st.sampled_from(["m", "", "k", "M", "Ki", "Mi", "Gi"]))
def test_integers_keep_their_amount(number: int, suffix: str) -> None:
    factor = parse_quantity(f"1{suffix}")
    assert parse_quantity(f"{number}{suffix}") == Decimal(number) * factor
    assert same_quantity(f"{number}{suffix}", f"{number}.0{suffix}")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        (2, "2"),
        (1000, "1k"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("0.3Gi", "322122547200m"),
        ("1.5G", "1500M"),
        ("1500e-3", "1500e-3"),
        ("0.0", "0"),
    ],
)
def test_canonical_quantities(text: str | int, kept: str) -> None:
    assert canonical(text) == kept
    assert same_quantity(canonical(text), text)
