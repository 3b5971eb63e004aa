"""What the answers of an API server mean."""

import json

import pytest

from springtide.api.errors import Bug, Conflict, Forbidden, Invalid, Missing, SpringtideError, Unavailable
from springtide.clients.cluster import DEPLOYMENT, POD
from springtide.clients.kubernetes import error_of


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (403, "pods is forbidden", Forbidden),
        (404, "not found", Missing),
        (409, "the object has been modified", Conflict),
        (422, "spec.x: Invalid value", Invalid),
        (429, "too many requests", Unavailable),
        (503, "unavailable", Unavailable),
        (500, "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): field not declared in schema", Bug),
        (400, "bad request", Bug),
    ],
)
def test_errors(status: int, message: str, expected: type[SpringtideError]) -> None:
    error = error_of(status, json.dumps({"kind": "Status", "message": message}).encode())
    assert type(error) is expected
    assert message in str(error)


def test_an_answer_that_is_no_status() -> None:
    assert "HTTP 502: <html>" in str(error_of(502, b"<html>"))


def test_retry_after() -> None:
    error = error_of(429, b"{}", "7")
    assert isinstance(error, Unavailable)
    assert error.retry_after == 7


def test_paths() -> None:
    assert POD.path(None) == "/api/v1/pods"
    assert DEPLOYMENT.path("a", "b", "status") == "/apis/apps/v1/namespaces/a/deployments/b/status"
