"""The load generator understands the real server: its requests are taken, its answers are counted as they are."""

from hack.load import Options, run
from tests.model_server.process import ServerProcess


def test_streams(chat: ServerProcess) -> None:
    # the queue holds two: one after the other
    options = Options(
        (str(chat.client.base_url),), kind="chat", model="smol", stream=True, concurrency=1, requests=3, seconds=600,
        tokens="4-16", max_tokens=6, timeout_seconds=240,
    )  # fmt: skip
    told = run(options)
    assert told["outcomes"] == {"ok": 3}, told["details"]
    assert told["streams"]["count"] == told["streams"]["time_to_first_token_ms"]["count"] == 3
    assert 3 <= told["tokens"]["completion"] <= 18
    assert told["tokens"]["completion_counted_as_events"] == 0
    assert told["tokens"]["prompt"] > 0


def test_texts_have_about_the_tokens_asked_for(embed: ServerProcess) -> None:
    options = Options(
        (str(embed.client.base_url),), kind="embeddings", model="mini", concurrency=1, requests=4, seconds=600,
        tokens=64, inputs=2, timeout_seconds=240,
    )  # fmt: skip
    told = run(options)
    assert told["outcomes"] == {"ok": 4}, told["details"]
    assert told["tokens"]["prompt"] == 4 * 2 * (64 + 2), "each word is a token; two special ones stand around them"
