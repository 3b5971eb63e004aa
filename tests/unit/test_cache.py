"""The cache never goes back in time."""

from typing import Any

from springtide.clients.cluster import MODEL_SERVICE, POD
from springtide.controllers.cache import Cache, reduce

KEY = ("ns", "chat")


def pod(version: int, uid: str = "u", **status: Any) -> dict[str, Any]:
    labels = {"springtide.dev/service": "chat", "springtide.dev/pool": "cpu"}
    metadata = {"namespace": "ns", "name": "p", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, "status": status}


def test_the_newer_state_stays() -> None:
    cache = Cache()
    assert cache.put(POD, pod(5)) == KEY
    assert cache.put(POD, pod(5)) is None
    assert cache.put(POD, pod(4)) is None
    assert cache.put(POD, pod(6)) == KEY
    assert [entry.version for entry in cache.pods.of(KEY)] == [6]


def test_a_late_answer_brings_nothing_back() -> None:
    cache = Cache()
    cache.put(POD, pod(5))
    assert cache.remove(POD, pod(8)) == KEY
    assert cache.put(POD, pod(7)) is None
    assert not cache.pods.of(KEY)
    assert cache.put(POD, pod(9, uid="v")) == KEY


def test_a_late_deletion_takes_nothing_away() -> None:
    cache = Cache()
    cache.put(POD, pod(9, uid="v"))
    assert cache.remove(POD, pod(8)) is None
    assert len(cache.pods) == 1


def test_what_was_read_live_replaces_what_was_known_unless_that_changed() -> None:
    cache = Cache()
    cache.put(POD, pod(50))
    (known,) = cache.pods.of(KEY)
    cache.pods.replace(known, reduce(POD, pod(3)))
    assert [entry.version for entry in cache.pods.of(KEY)] == [3], "as after a restore of the cluster from a backup"
    cache.pods.replace(known, None)
    assert len(cache.pods) == 1


def test_what_is_told_late_of_a_deletion_that_was_missed_brings_nothing_back() -> None:
    cache = Cache()
    cache.put(POD, pod(5))
    (known,) = cache.pods.of(KEY)
    cache.pods.replace(known, None)
    cache.pods.bury("u")
    assert cache.put(POD, pod(6)) is None
    assert cache.put(POD, pod(9, uid="v")) == KEY, "a namesake is another object"
    cache.pods.exhume("u")
    assert cache.put(POD, pod(10)) == KEY, "as after a restore of the cluster from a backup"


def test_what_is_remembered_of_missed_deletions_is_bounded() -> None:
    cache = Cache()
    for number in range(10_001):
        cache.pods.bury(str(number))
    assert cache.put(POD, pod(1, uid="10000")) is None
    assert cache.put(POD, pod(1, uid="0")) == KEY


def test_a_model_service_is_its_own_key() -> None:
    metadata = {"namespace": "ns", "name": "chat", "uid": "u", "resourceVersion": "1", "generation": 1}
    assert reduce(MODEL_SERVICE, {"metadata": metadata, "spec": {}}).key == KEY
