"""A bad spec is refused by the API server, with a message that names the field.

The specs are those of tests/unit/test_validate.py: what Python and what the API server say can't drift apart.
"""

from typing import Any

import pytest

from tests.api.support import MODEL_SERVICES, Api, Refused
from tests.unit.specs import BAD, BAD_NAMES, GOOD, MODEL


@pytest.mark.parametrize(
    ("spec", "words"),
    BAD,
    ids=str,
)
def test_refused(api: Api, spec: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        api.create("bad", **spec)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("name", "pools", "word"),
    BAD_NAMES,
)
def test_names_that_make_no_service(api: Api, name: str, pools: list[dict[str, Any]], word: str) -> None:
    with pytest.raises(Refused, match=word):
        api.create(name, pools=pools)


def test_unknown_fields_are_named(api: Api) -> None:
    body = {
        "apiVersion": "springtide.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "bad"},
        "spec": {"model": MODEL, "pools": [{"name": "cpu", "gpu": 1}]},
    }
    with pytest.raises(Refused, match=r"unknown field \"spec.pools\[0\].gpu\""):
        api.call("POST", MODEL_SERVICES, body, fieldValidation="Strict")


@pytest.mark.parametrize(
    "spec",
    GOOD,
    ids=str,
)
def test_taken(api: Api, spec: dict[str, Any]) -> None:
    api.create("good", **spec)
    api.delete(MODEL_SERVICES, "good")


def test_nothing_is_filled_in(api: Api) -> None:
    assert "replicas" not in api.create("plain")["spec"]
    api.delete(MODEL_SERVICES, "plain")
