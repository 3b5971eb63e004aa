"""Models from a hub: the program against an HTTP server that answers as the hub does."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_server.faulty import Fault
from tests.model_server.fetching import Fetcher, partial_bytes, tree
from tests.model_server.hub import MODEL, REPO, URI, WEIGHTS, Hub


def test_a_model_is_fetched_checked_and_linked(hub: Hub, fetcher: Fetcher) -> None:
    ended = fetcher.run(URI)
    assert ended.code == 0, ended.stderr
    assert fetcher.content() == MODEL
    # The link stays true where the volume is mounted elsewhere.
    assert not fetcher.link().readlink().is_absolute()
    assert not list(fetcher.cache.rglob("*.incomplete"))
    assert len(hub.asked("/api/")) == 1
    assert len(hub.asked("/resolve/")) == len(MODEL) - 1  # an empty file needs no asking
    assert ended.log[0]["message"] == "4 files, 3.0 MB, 0 B in the cache"
    assert "verified: 3 by git-sha1, 1 by sha256" in ended.messages
    assert ended.log[-1]["message"] == "ready" and ended.log[-1]["link"] == str(fetcher.link())


def test_a_commit_that_is_there_is_not_asked_for(hub: Hub, fetcher: Fetcher) -> None:
    commit = hub.branches[REPO, "main"]
    assert fetcher.run(URI, "--revision", commit).code == 0
    hub.seen.clear()
    ended = fetcher.run(URI, "--revision", commit, link="other")
    assert ended.code == 0 and not hub.seen
    assert fetcher.content("other") == MODEL
    assert "nothing was asked for" in ended.messages


def test_a_branch_costs_one_request_and_only_what_has_changed(hub: Hub, fetcher: Fetcher) -> None:
    assert fetcher.run(URI).code == 0
    hub.seen.clear()
    assert fetcher.run(URI).code == 0
    assert len(hub.seen) == 1 and "/api/" in hub.seen[0].path
    old = fetcher.link().resolve()

    newer = MODEL | {"config.json": b'{"model_type": "llama", "newer": true}'}
    hub.push(REPO, newer)
    hub.seen.clear()
    ended = fetcher.run(URI)
    assert ended.code == 0 and fetcher.content() == newer
    assert [seen.path.rsplit("/")[-1] for seen in hub.asked("/resolve/")] == ["config.json"]
    # A server that has loaded the old folder goes on with it.
    assert tree(old) == MODEL


def test_huggingface_hub_reads_the_cache_and_the_tests_hub(hub: Hub, fetcher: Fetcher, tmp_path: Path) -> None:
    assert fetcher.run(URI).code == 0
    program = """
import sys
from huggingface_hub import snapshot_download
from pathlib import Path
here = snapshot_download(sys.argv[1], cache_dir=sys.argv[2], local_files_only=True)
there = snapshot_download(sys.argv[1], cache_dir=sys.argv[3])
for file in Path(here).rglob("*"):
    if file.is_file():
        assert file.read_bytes() == Path(there, file.relative_to(here)).read_bytes()
"""
    arguments = [REPO, str(fetcher.hub()), str(tmp_path / "theirs")]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    subprocess.run([sys.executable, "-c", program, *arguments], env=environment, check=True, timeout=120)


def test_after_a_kill_nothing_looks_complete_and_the_rest_is_fetched(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/cdn/", hold_at=2_000_000)) as fault:
        running = fetcher.start(URI)
        running.wait_for(lambda: fault.held.is_set() and partial_bytes(fetcher.cache) > 1_000_000)
        running.process.kill()
        running.kill()
    assert not fetcher.link().exists() and not list(fetcher.cache.rglob("snapshots/*"))
    hub.seen.clear()
    ended = fetcher.run(URI)
    assert ended.code == 0 and fetcher.content() == MODEL
    (rest,) = hub.asked("/cdn/")
    assert rest.status == 206 and rest.sent < 2_000_000
    assert "resuming model.safetensors at" in ended.messages


@pytest.mark.parametrize("match", ["/cdn/", "/config.json"])
def test_a_damaged_file_is_fetched_once_more(hub: Hub, fetcher: Fetcher, match: str) -> None:
    with hub.broken(Fault(match, flip=True)):
        ended = fetcher.run(URI)
    assert ended.code == 0 and fetcher.content() == MODEL
    assert len(hub.asked(match)) == 2
    assert "fetching it again" in ended.messages


def test_what_one_hub_says_of_a_commit_is_not_taken_for_what_another_says(hub: Hub, fetcher: Fetcher) -> None:
    assert fetcher.run(URI).code == 0
    commit = (fetcher.link().resolve()).name
    elsewhere = hub.url.replace("127.0.0.1", "localhost")
    asked = len(hub.asked("/api/models/"))
    ended = fetcher.run(URI, "--revision", commit, link="other", HF_ENDPOINT=elsewhere)
    assert ended.code == 0
    assert len(hub.asked("/api/models/")) > asked, "the copy of the first hub was not good enough"
    assert len(list(fetcher.cache.glob("hub-*"))) == 2


def test_the_default_of_the_operator_counts_where_the_secret_says_nothing(hub: Hub, tmp_path: Path) -> None:
    fetcher = Fetcher(tmp_path, {"SPRINGTIDE_DEFAULT_HF_ENDPOINT": hub.url, "HF_ENDPOINT": ""})
    assert fetcher.run(URI).code == 0


def test_a_file_that_stays_damaged_is_refused(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/cdn/", times=9, flip=True)):
        ended = fetcher.run(URI)
    assert ended.code == 2 and len(hub.asked("/cdn/")) == 2
    stated = hashlib.sha256(WEIGHTS).hexdigest()
    assert "model.safetensors has sha256 " in ended.reason and f"but {stated} is stated" in ended.reason
    assert not fetcher.link().exists()
    assert not (fetcher.hub() / "models--springtide--tiny/blobs" / stated).exists()


def test_two_pods_fetch_once(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/cdn/", hold_at=1_000_000)) as fault:
        first = fetcher.start(URI)
        first.wait_for(fault.held.is_set)
        second = fetcher.start(URI, link="second")
        second.wait_for(lambda: "waiting: another pod is fetching" in second.stderr())
    assert first.wait().code == 0
    ended = second.wait()
    assert ended.code == 0 and "no file was fetched" in ended.messages
    assert fetcher.content() == fetcher.content("second") == MODEL
    assert hub.bytes_sent("/cdn/") == len(WEIGHTS)


@pytest.mark.parametrize(
    ("repo", "token", "revision", "reason"),
    [
        (
            "s/private",
            "",
            "main",
            "hf://s/private needs a token, or doesn't exist: put HF_TOKEN into the Secret named by",
        ),
        (
            "s/private",
            "hf_wrong",
            "main",
            "hf://s/private: the hub refuses HF_TOKEN; put a valid token into the Secret",
        ),
        ("s/gated", "", "main", "hf://s/gated needs a token"),
        ("s/gated", Hub.token, "main", "hf://s/gated is gated: accept its terms"),
        ("s/missing", Hub.token, "main", "hf://s/missing doesn't exist, or HF_TOKEN has no right to read it; correct"),
        (REPO, "", "v2", "hf://springtide/tiny has no revision v2; correct model.revision"),
    ],
)
def test_what_is_refused_ends_at_once(
    hub: Hub, fetcher: Fetcher, repo: str, token: str, revision: str, reason: str
) -> None:
    for name in ("s/private", "s/gated"):
        hub.push(name, MODEL)
    ended = fetcher.run(f"hf://{repo}", "--revision", revision, HF_TOKEN=token)
    assert ended.code == 2 and ended.reason.startswith(reason), ended.stderr
    assert len(hub.asked("/api/")) == 1 and not fetcher.link().exists()


def test_the_token_opens_a_private_model(hub: Hub, fetcher: Fetcher) -> None:
    hub.push("s/private", MODEL)
    # as Secrets often have it
    assert fetcher.run("hf://s/private", HF_TOKEN=f"{hub.token}\n").code == 0
    assert fetcher.content() == MODEL


def test_what_may_pass_is_tried_again(hub: Hub, fetcher: Fetcher) -> None:
    limited = Fault("/api/", status=429, headers={"Retry-After": "1"})
    with hub.broken(limited), hub.broken(Fault("/cdn/", cut_at=1_500_000)), hub.broken(Fault("config", status=503)):
        ended = fetcher.run(URI)
    assert ended.code == 0 and fetcher.content() == MODEL
    (wait,) = [line["message"] for line in ended.log if "HTTP 429" in line["message"]]
    assert 1 <= float(wait.split(" in ")[1].split()[0]) < 2
    assert "config.json: HTTP 503; trying again" in ended.messages
    # and goes on where it was cut
    assert [seen.status for seen in hub.asked("/cdn/")] == [200, 206]
    assert hub.bytes_sent("/cdn/") < len(WEIGHTS) + 100_000


def test_a_hub_that_asks_for_too_long_a_wait_is_left_to_a_later_start(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/api/", status=429, headers={"Retry-After": "3600"})):
        ended = fetcher.run(URI)
    assert ended.code == 1 and ended.reason == f"{URI}: HTTP 429; it asks to wait 3600 s"


def test_a_server_without_ranges_sends_all_again(hub: Hub, fetcher: Fetcher) -> None:
    whole = {"Content-Length": str(len(WEIGHTS))}
    with (
        hub.broken(Fault("/cdn/", cut_at=1_500_000)),
        hub.broken(Fault("/cdn/", status=200, headers=whole, body=WEIGHTS)),
    ):
        ended = fetcher.run(URI)
    assert ended.code == 0 and fetcher.content() == MODEL


def test_without_the_hub_a_copy_is_used(hub: Hub, fetcher: Fetcher) -> None:
    assert fetcher.run(URI).code == 0
    with hub.broken(Fault("/api/", times=99, status=503)):
        ended = fetcher.run(URI, link="later")
    assert ended.code == 0 and fetcher.content("later") == MODEL
    assert "using the verified copy in the cache" in ended.messages


def test_without_the_hub_and_a_copy_it_says_why(fetcher: Fetcher) -> None:
    ended = fetcher.run(URI, "--attempts", "2", HF_ENDPOINT="http://127.0.0.1:9")
    assert ended.code == 1
    assert ended.reason == f"{URI}: [Errno 111] Connection refused; tried 2 times"


def test_a_copy_that_was_damaged_does_not_count(hub: Hub, fetcher: Fetcher) -> None:
    commit = hub.branches[REPO, "main"]
    assert fetcher.run(URI).code == 0
    blob = (fetcher.link() / "model.safetensors").resolve()
    os.truncate(blob, 1000)
    hub.seen.clear()
    assert fetcher.run(URI, "--revision", commit).code == 0
    assert fetcher.content() == MODEL and len(hub.asked("/resolve/")) == 1


def test_something_else_than_a_hub_is_told(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/api/", status=200, body=b"<html>")):
        ended = fetcher.run(URI)
    assert ended.code == 2 and "doesn't answer like a Hugging Face hub; correct HF_ENDPOINT" in ended.reason
