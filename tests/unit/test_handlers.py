"""What kopf is told to do, and to leave."""

import kopf

from springtide.controllers.handlers import settings


def test_kopf_compares_nothing() -> None:
    storage = settings().persistence.diffbase_storage
    assert storage.build(body=kopf.Body({"metadata": {"labels": {"a": "b"}}, "spec": {"c": 1}})) == {}
    assert storage.fetch(body=kopf.Body({})) is None
