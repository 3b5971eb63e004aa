"""A policy file that changes under a running server, in the way that a kubelet changes one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.model_server.process import ServerProcess, error_of
from tests.model_server.redis_process import RedisProcess
from tests.model_server.volume import ConfigMapVolume

EMBEDDINGS = "/v1/embeddings"
GOLD: list[dict[str, Any]] = [{"name": "gold", "reservedPercent": 50}, {"name": "bulk", "sheddable": True}]
FLAGS = ("--max-batch-size", "16", "--priority", "first", "--priority", "second:default")


class Server:
    """A server and its policy."""

    def __init__(self, process: ServerProcess, volume: ConfigMapVolume) -> None:
        self.process, self.volume = process, volume

    def acts(self, **policy: Any) -> None:
        """Write the policy, and wait until it acts."""
        before = self.hash()
        self.volume.write(**policy)
        self.wait(lambda: self.hash() != before)

    def hash(self) -> list[str]:
        return [line for line in self.metrics() if line.startswith("springtide_policy_info{")]

    def metrics(self) -> list[str]:
        return self.process.client.get("/metrics").text.splitlines()

    def wait(self, condition: Any) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.process.stderr()
            time.sleep(0.05)

    def embed(self, *texts: str, priority: str | None = None) -> Any:
        headers = {} if priority is None else {"X-Priority": priority}
        return self.process.post(EMBEDDINGS, headers, input=list(texts))


@contextmanager
def serving(model: Path, task: str, folder: Path, *flags: str) -> Iterator[Server]:
    volume = ConfigMapVolume(folder)
    volume.write_text('{"priorities": "gold"}')  # wrong from the start: the server serves all the same
    with ServerProcess(model, "m", task, "--policy", str(volume.file), *flags) as process:
        yield Server(process.wait_ready(), volume)


@pytest.fixture(scope="module")
def server(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(minilm, "Embed", tmp_path_factory.mktemp("embed") / "policy", *FLAGS) as made:
        yield made


def test_a_file_that_is_wrong_at_the_start_leaves_what_the_command_line_says(server: Server) -> None:
    assert server.process.metric("springtide_policy_valid") == 0
    (complaint,) = [line for line in server.process.log() if line["message"].startswith("the policy file changes")]
    assert complaint["reason"] == "priorities: input should be a valid array"
    assert server.embed("high tide", priority="first").status_code == 200
    assert server.process.metric("springtide_batch_row_limit") == 16


def test_priorities_change_and_change_back(server: Server) -> None:
    server.acts(priorities=GOLD)
    assert server.process.metric("springtide_policy_valid") == 1
    assert server.embed("high tide", priority="gold").status_code == 200
    assert server.embed("high tide").status_code == 200
    refused = server.embed("high tide", priority="first")
    assert (refused.status_code, error_of(refused)["code"]) == (400, "unknown_priority")
    lines = server.metrics()
    assert 'springtide_queue_wait_seconds_count{class="gold"} 2.0' in lines, "the default is what is not sheddable"
    assert 'springtide_queue_depth{class="gold"} 0.0' in lines
    assert not [line for line in lines if line.startswith('springtide_queue_depth{class="first"}')]

    server.acts()
    assert server.embed("high tide", priority="first").status_code == 200
    assert server.embed("high tide", priority="gold").status_code == 400


def test_a_shed_class_is_told_when_to_come_again(server: Server) -> None:
    server.acts(priorities=GOLD, shedClasses=["bulk"])
    refused = server.embed("high tide", priority="bulk")
    assert (refused.status_code, error_of(refused)["code"]) == (429, "shed_by_policy")
    assert 10 <= int(refused.headers["retry-after"]) <= 60
    assert 'springtide_rejections_total{class="bulk",reason="shed_by_policy"} 1.0' in server.metrics()
    assert server.embed("high tide", priority="gold").status_code == 200
    unread = server.process.client.post(EMBEDDINGS, content=b"{" + b" " * 300_000, headers={"X-Priority": "bulk"})
    assert unread.status_code == 429, "it is refused before it is read"
    assert f'springtide_requests_total{{code="429",route="{EMBEDDINGS}"}} 2.0' in server.metrics()
    assert server.embed("high tide", priority="gold").status_code == 200, "the connection goes on"
    server.acts(priorities=GOLD)
    assert server.embed("high tide", priority="bulk").status_code == 200


def test_batches_have_the_new_cap(server: Server) -> None:
    def batches() -> float:
        return server.process.metric("springtide_batch_rows_count")

    texts = [f"tide {number}" for number in range(6)]
    server.acts(batching={"maxBatchSize": 6})
    before = batches()
    assert server.embed(*texts).status_code == 200
    assert batches() == before + 1
    server.acts(batching={"maxBatchSize": 3})
    assert server.process.metric("springtide_batch_row_limit") == 3
    before = batches()
    assert server.embed(*texts).status_code == 200
    assert batches() == before + 2


def test_a_file_that_becomes_wrong_leaves_the_last_good_one(server: Server) -> None:
    server.acts(priorities=GOLD)
    good = server.hash()
    spoilers: list[Callable[[], None]] = [lambda: server.volume.write_text("{"), server.volume.remove]
    for spoil in spoilers:
        server.volume.write(priorities=GOLD)
        server.wait(lambda: server.process.metric("springtide_policy_valid") == 1)
        spoil()
        server.wait(lambda: server.process.metric("springtide_policy_valid") == 0)
        assert server.hash() == good
        assert server.embed("high tide", priority="gold").status_code == 200
    server.acts()
    assert server.process.metric("springtide_policy_valid") == 1


@pytest.fixture(scope="module")
def writer(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("generate")
    with RedisProcess(folder) as redis:
        flags = "--result-cache-url", redis.url, "--result-cache-timeout-milliseconds", "1000"
        with serving(smollm2, "Generate", folder / "policy", *flags) as made:
            yield made


def test_a_cap_of_output_tokens_cuts_answers(writer: Server) -> None:
    def answer(**options: Any) -> tuple[int, str]:
        body = writer.process.ask("Tell me a long story about the tide.", **options).json()
        return body["usage"]["completion_tokens"], body["choices"][0]["finish_reason"]

    assert answer(max_tokens=8) == (8, "length")
    writer.acts(maxOutputTokens=3)
    assert answer(max_tokens=8) == answer() == (3, "length")
    assert answer(max_tokens=2) == (2, "length")
    writer.acts()
    assert answer(max_tokens=8) == (8, "length")


def test_features_are_turned_off_and_on_again(writer: Server) -> None:
    def ask(tokens: int) -> tuple[Any, str | None, float]:
        """Log-probabilities, what is said of the result cache, and how many tokens of the prompt were known."""
        known = writer.process.metric("springtide_prefix_cache_hit_tokens_total")
        answer = writer.process.ask("The tide comes in. " * 12, max_tokens=tokens, temperature=0, logprobs=True)
        hits = writer.process.metric("springtide_prefix_cache_hit_tokens_total") - known
        return answer.json()["choices"][0]["logprobs"], answer.headers.get("cache-status"), hits

    writer.acts(featuresOff=["Logprobs", "PrefixCache", "ResultCache"])
    assert ask(2) == ask(2) == (None, None, 0)
    writer.acts()
    told, status, _ = ask(2)
    assert len(told["content"]) == 2
    assert status == "springtide; fwd=miss"
    told, _, hits = ask(3)
    assert len(told["content"]) == 3
    assert hits > 0
