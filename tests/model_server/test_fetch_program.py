"""The fetch as a program in a container: its user, its end, its log, and what it refuses to begin."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from springtide_server import folder
from tests.model_server.faulty import Fault
from tests.model_server.fetching import Fetcher, partial_bytes, tree
from tests.model_server.hub import MODEL, URI, Hub


def test_sigterm_ends_it_at_once_with_what_it_has(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/cdn/", hold_at=2_000_000)) as fault:
        running = fetcher.start(URI)
        running.wait_for(lambda: fault.held.is_set() and partial_bytes(fetcher.cache) > 1_000_000)
        running.process.send_signal(signal.SIGTERM)
        ended = running.wait()  # the hub still holds the answer back
    assert ended.code == 143
    assert ended.reason == "ended by SIGTERM; the next start goes on from here"
    assert not fetcher.link().exists()
    assert "resuming" in fetcher.run(URI).messages


def test_names_that_leave_the_folder_are_refused(hub: Hub, fetcher: Fetcher) -> None:
    hub.push("s/evil", MODEL | {"../../links/evil": b"x"})
    ended = fetcher.run("hf://s/evil")
    assert ended.code == 2 and "'../../links/evil', which would lie outside" in ended.reason
    assert not fetcher.cache.exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["hf://a/b/c"], "hf://a/b/c is not of the form hf://ORGANISATION/REPOSITORY"),
        (["hf://../b"], "hf://../b is not of the form"),
        (["hf://a/b", "--revision", "../x"], "'../x' can't be a branch, a tag or a commit"),
        (["https://a/b"], "https://a/b begins neither with hf:// nor with s3://"),
        (["s3://b/../c"], "s3://b/../c is not of the form s3://BUCKET/PREFIX"),
        (["s3://bucket/p", "--revision", "1"], "s3://bucket/p can't have a revision"),
    ],
)
def test_uris_that_are_none(fetcher: Fetcher, arguments: list[str], reason: str) -> None:
    ended = fetcher.run(arguments[0], *arguments[1:])
    assert ended.code == 2 and ended.reason.startswith(reason), ended.stderr


def test_progress_is_told_each_five_seconds(hub: Hub, fetcher: Fetcher) -> None:
    with hub.broken(Fault("/cdn/", hold_at=1_500_000)):
        running = fetcher.start(URI)
        running.wait_for(lambda: " of 3.0 MB (" in running.stderr())
    ended = running.wait()
    (line,) = [line for line in ended.log if "rate" in line]
    assert 1_400_000 < line["bytes"] < 1_600_000 and line["total"] == sum(map(len, MODEL.values()))


def test_nobody_needs_to_be_root(hub: Hub, tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("needs root, to be somebody else")
    cache = tmp_path / "cache"
    cache.mkdir()
    os.chown(cache, 65532, 65532)
    for above in (tmp_path, *tmp_path.parents):
        if not above.stat().st_mode & 1:
            above.chmod(0o711)
    nobody = ("setpriv", "--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs")
    if subprocess.run([*nobody, sys.executable, "-c", ""]).returncode:
        pytest.skip("needs a Python that everybody may run")
    fetcher = Fetcher(cache, {"HF_ENDPOINT": hub.url, "PYTHONDONTWRITEBYTECODE": "1"}, prefix=nobody)
    ended = fetcher.run(URI)
    assert ended.code == 0, ended.stderr
    assert fetcher.content() == MODEL
    os.chown(fetcher.hub(), 0, 0)
    hub.push("s/another", MODEL)
    ended = fetcher.run("hf://s/another")
    assert ended.code == 2 and ended.reason.startswith(f"user 65532 can't write {fetcher.hub()}"), ended.stderr


def test_the_reason_is_in_the_termination_log(hub: Hub, tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("needs root, for a /dev of its own")
    script = (
        'mount -t tmpfs none /dev && : > /dev/termination-log && "$@"; code=$?; cat /dev/termination-log; exit $code'
    )
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    running = Fetcher(tmp_path / "cache", {"HF_ENDPOINT": hub.url}, prefix=prefix).start("hf://s/missing")
    ended = running.wait()
    assert ended.code == 2 and running.output == ended.stderr.splitlines()[-1] + "\n"
    assert running.output.startswith("springtide-model-fetch: hf://s/missing needs a token")


def test_what_was_fetched_is_a_model_for_the_server(hub: Hub, fetcher: Fetcher, minilm: Path) -> None:
    hub.push("s/minilm", tree(minilm))
    ended = fetcher.run("hf://s/minilm")
    assert ended.code == 0, ended.stderr
    folder.check(fetcher.link(), "Embed")
