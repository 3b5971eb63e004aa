"""Models from an S3 store: the program against a real one, behind a proxy that counts and breaks."""

import hashlib
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from awscrt import checksums

from tests.model_server.faulty import Fault
from tests.model_server.fetching import Fetcher, complete_files, partial_bytes, tree
from tests.model_server.store import S3, stated

WEIGHTS = random.Random(2).randbytes(3_000_000)  # noqa: S311
MODEL = {
    "config.json": b'{"model_type": "llama"}',
    "model.safetensors": WEIGHTS,
    "sub folder/ü+n%20ï&.json": b"{}",
    "empty.txt": b"",
}
LISTING, OBJECTS = r"GET /\w+/\?", r"GET /\w+/m/"


@pytest.fixture(scope="module")
def started() -> Iterator[S3]:
    with S3() as s3:
        yield s3


@pytest.fixture
def s3(started: S3, request: pytest.FixtureRequest) -> S3:
    """With a bucket for each test, which holds the model below m/."""
    started.bucket = f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}"
    started.create(started.bucket)
    for path, data in MODEL.items():
        started.put(started.bucket, f"m/{path}", data)
    started.put(started.bucket, "mine/other.json", b"another prefix")
    started.seen.clear()
    return started


@pytest.fixture
def uri(s3: S3) -> str:
    return f"s3://{s3.bucket}/m"


@pytest.fixture
def fetcher(s3: S3, tmp_path: Path) -> Iterator[Fetcher]:
    fetcher = Fetcher(tmp_path / "cache", s3.environment, (s3.secret_key,))
    yield fetcher
    fetcher.kill_all()


def test_a_prefix_is_fetched_checked_and_linked(s3: S3, fetcher: Fetcher, uri: str) -> None:
    s3.put(s3.bucket, "m/pytorch_model.bin", b"left out beside safetensors")
    ended = fetcher.run(uri)
    assert ended.code == 0, ended.stderr
    assert fetcher.content() == MODEL
    assert not fetcher.link().readlink().is_absolute()
    assert not list(fetcher.cache.rglob("*.incomplete"))
    assert ended.log[0]["message"] == "4 files, 3.0 MB, 0 B in the cache"
    assert s3.bytes_sent(OBJECTS) == sum(map(len, MODEL.values()))


def test_a_second_start_fetches_nothing(s3: S3, fetcher: Fetcher, uri: str) -> None:
    assert fetcher.run(f"{uri}/").code == 0
    s3.seen.clear()
    ended = fetcher.run(uri, link="other")
    assert ended.code == 0 and fetcher.content("other") == MODEL
    assert len(s3.seen) == 1 and s3.asked(LISTING)
    assert "no file was fetched" in ended.messages


def test_the_log_says_by_what_each_file_was_checked(s3: S3, fetcher: Fetcher, uri: str) -> None:
    digests = {
        "sha256": hashlib.sha256(b"a").digest(),
        "sha1": hashlib.sha1(b"a").digest(),  # noqa: S324
        "crc64nvme": checksums.crc64nvme(b"a").to_bytes(8),
        "crc32c": checksums.crc32c(b"a").to_bytes(4),
        "crc32": zlib.crc32(b"a").to_bytes(4),
    }
    for algorithm, digest in digests.items():
        s3.put(s3.bucket, f"sums/{algorithm}", b"a", **{f"x_amz_checksum_{algorithm}": stated(digest)})
    s3.put_in_parts(s3.bucket, "sums/parts", [b"c" * 5_242_880, b"d"])
    (s3.root / s3.bucket / "sums" / "copied").write_bytes(b"past the store, so it knows no digest")
    ended = fetcher.run(f"s3://{s3.bucket}/sums")
    assert ended.code == 0, ended.stderr
    expected = {"sha256": 1, "sha1": 1, "crc64nvme": 2, "crc32c": 1, "crc32": 1, "size": 1}  # the copied one
    assert ended.log[-2]["verified"] == expected
    assert "2 by crc64nvme" in ended.log[-2]["message"]


def test_where_no_checksum_is_stated_the_etag_is_the_md5(s3: S3, fetcher: Fetcher, uri: str) -> None:
    with s3.broken(Fault("HEAD", times=9, drop="x-amz-checksum")), s3.broken(Fault("GET .*safetensors", flip=True)):
        ended = fetcher.run(uri)
    assert ended.code == 0 and fetcher.content() == MODEL
    assert ended.log[-2]["verified"] == {"md5": len(MODEL) - 1, "size": 1}  # one is empty
    assert "model.safetensors has md5 " in ended.messages


def test_changed_objects_come_into_a_new_folder(s3: S3, fetcher: Fetcher, uri: str) -> None:
    assert fetcher.run(uri).code == 0
    old = fetcher.link().resolve()
    s3.put(s3.bucket, "m/config.json", b"{}")
    s3.delete(s3.bucket, "m/empty.txt")
    s3.seen.clear()
    assert fetcher.run(uri).code == 0
    newer = MODEL | {"config.json": b"{}"}
    del newer["empty.txt"]
    assert fetcher.content() == newer
    assert s3.bytes_sent(OBJECTS) == 2
    # A server that has loaded the old folder goes on with it.
    assert tree(old) == MODEL


def test_after_a_kill_only_what_is_missing_is_fetched(s3: S3, fetcher: Fetcher, uri: str) -> None:
    with s3.broken(Fault("GET .*safetensors", hold_at=2_000_000)) as fault:
        running = fetcher.start(uri)
        running.wait_for(lambda: fault.held.is_set() and partial_bytes(fetcher.cache) > 1_000_000)
        running.wait_for(lambda: complete_files(fetcher.cache) == len(MODEL) - 1)
        running.process.kill()
        running.kill()
    assert not fetcher.link().exists() and not list(fetcher.cache.rglob("snapshots/*"))
    s3.seen.clear()
    ended = fetcher.run(uri)
    assert ended.code == 0 and fetcher.content() == MODEL
    assert [seen.status for seen in s3.asked(OBJECTS)] == [206] and s3.bytes_sent(OBJECTS) < 2_000_000


def test_a_damaged_object_is_fetched_once_more(s3: S3, fetcher: Fetcher, uri: str) -> None:
    with s3.broken(Fault("GET .*safetensors", flip=True)):
        ended = fetcher.run(uri)
    assert ended.code == 0 and fetcher.content() == MODEL
    assert "fetching it again" in ended.messages


def test_an_object_that_stays_damaged_is_refused(s3: S3, fetcher: Fetcher, uri: str) -> None:
    with s3.broken(Fault("GET .*safetensors", times=9, flip=True)):
        ended = fetcher.run(uri)
    assert ended.code == 2 and "model.safetensors has " in ended.reason and "is stated, and so twice" in ended.reason
    assert len(s3.asked("GET .*safetensors")) == 2 and not fetcher.link().exists()


def test_two_pods_fetch_once(s3: S3, fetcher: Fetcher, uri: str) -> None:
    with s3.broken(Fault("GET .*safetensors", hold_at=1_000_000)) as fault:
        first = fetcher.start(uri)
        first.wait_for(fault.held.is_set)
        second = fetcher.start(uri, link="second")
        second.wait_for(lambda: "waiting: another pod is fetching" in second.stderr())
    assert first.wait().code == 0
    ended = second.wait()
    assert ended.code == 0 and "no file was fetched" in ended.messages
    assert fetcher.content() == fetcher.content("second") == MODEL
    assert s3.bytes_sent(OBJECTS) == sum(map(len, MODEL.values()))


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "needs a key: put AWS_ACCESS_KEY_ID and AWS_SECRET_"),
        ({"AWS_ACCESS_KEY_ID": ""}, "only AWS_SECRET_ACCESS_KEY is there; put both halves"),
        ({"AWS_ACCESS_KEY_ID": "AKIAOTHER"}, "the store doesn't know the key AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY doesn't fit AWS_ACCESS_KEY_ID"),
        ({"AWS_REGION": "eu-central-1"}, "is in region us-east-1; set AWS_REGION"),
        ({"AWS_ENDPOINT_URL": "store.example"}, "AWS_ENDPOINT_URL is not a URL"),
    ],
)
def test_what_is_refused_ends_at_once(
    s3: S3, fetcher: Fetcher, uri: str, environment: dict[str, str], reason: str
) -> None:
    ended = fetcher.run(uri, **environment)
    assert ended.code == 2 and reason in ended.reason, ended.stderr
    assert len(s3.seen) <= 1 and not fetcher.link().exists()


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("nobucket", "there is no such bucket; correct model.uri"), ("{}/nothing", "holds no objects; correct model.uri")],
)
def test_what_is_not_there_ends_at_once(s3: S3, fetcher: Fetcher, missing: str, reason: str) -> None:
    ended = fetcher.run(f"s3://{missing.format(s3.bucket)}")
    assert ended.code == 2 and reason in ended.reason, ended.stderr


def test_what_may_pass_is_tried_again(s3: S3, fetcher: Fetcher, uri: str) -> None:
    slow_down = b"<Error><Code>SlowDown</Code></Error>"
    with (
        s3.broken(Fault(LISTING, status=503, body=slow_down)),
        s3.broken(Fault("HEAD", status=429, headers={"Retry-After": "1"})),
        s3.broken(Fault("GET .*safetensors", cut_at=1_500_000)),
    ):
        ended = fetcher.run(uri)
    assert ended.code == 0 and fetcher.content() == MODEL
    assert "HTTP 503 SlowDown; trying again" in ended.messages and "HTTP 429; trying again" in ended.messages
    assert [seen.status for seen in s3.asked("GET .*safetensors")] == [200, 206]


def test_without_the_store_a_copy_is_used(s3: S3, fetcher: Fetcher, uri: str) -> None:
    assert fetcher.run(uri).code == 0
    with s3.broken(Fault("", times=99, status=503)):
        ended = fetcher.run(uri, link="later")
    assert ended.code == 0 and fetcher.content("later") == MODEL
    assert "using the verified copy in the cache" in ended.messages


def test_without_the_store_and_a_copy_it_says_why(fetcher: Fetcher, uri: str) -> None:
    ended = fetcher.run(uri, "--attempts", "2", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    assert ended.code == 1 and ended.reason == f"{uri}: [Errno 111] Connection refused; tried 2 times"


def test_an_object_that_changes_meanwhile_is_left_to_the_next_start(s3: S3, fetcher: Fetcher, uri: str) -> None:
    with s3.broken(Fault("GET .*safetensors", hold_at=0, times=1)) as fault:
        running = fetcher.start(uri)
        running.wait_for(fault.held.is_set)
        fault.cut_at = 0
        s3.put(s3.bucket, "m/model.safetensors", WEIGHTS[::-1])
    ended = running.wait()
    assert ended.code == 1 and "model.safetensors has changed meanwhile; the next start" in ended.reason, ended.stderr
    assert fetcher.run(uri).code == 0
    assert fetcher.content()["model.safetensors"] == WEIGHTS[::-1]


def test_keys_that_leave_the_folder_are_refused(s3: S3, fetcher: Fetcher, uri: str) -> None:
    s3.put(s3.bucket, "m/aa/bb/evil", b"x")
    # The store itself takes no such key, so the listing is changed on its way.
    with s3.broken(Fault(LISTING, replace=(b"aa/bb/evil", b"../../evil"))):
        ended = fetcher.run(uri)
    assert ended.code == 2 and "'../../evil', which would lie outside the model's folder" in ended.reason
    assert not fetcher.cache.exists()


def test_a_long_listing_comes_in_pages(s3: S3, fetcher: Fetcher) -> None:
    for number in range(1005):
        (s3.root / s3.bucket / "many").mkdir(exist_ok=True)
        (s3.root / s3.bucket / "many" / f"{number:04}").write_bytes(b"")
    ended = fetcher.run(f"s3://{s3.bucket}/many")
    assert ended.code == 0 and len(fetcher.content()) == 1005, ended.stderr
    assert len(s3.asked(LISTING)) == 2
