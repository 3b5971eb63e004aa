"""Batches and priorities over HTTP, with all-MiniLM-L6-v2."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch

from springtide_server.engine.batch import BatchEngine
from springtide_server.engine.batching import Limits
from springtide_server.engine.engine import Phase, QueueSettings, loader
from springtide_server.engine.work import Embed, Job, Terms, Vectors
from springtide_server.errors import ModelError
from springtide_server.metrics import Metrics
from tests.model_server.process import ServerProcess, error_of

EMBEDDINGS = "/v1/embeddings"
# One batch of seconds: the server is busy with it for as long as a test needs.
LONG = [[101, *[2000 + number] * 250, 102] for number in range(64)]
TEXT = "The tide comes in twice a day and carries boats over sand that was dry in the morning."


@pytest.fixture(scope="module")
def small(minilm: Path) -> Iterator[ServerProcess]:
    """A server in whose queue four requests may wait, and which computes any number of rows at once."""
    flags = ["--max-queue", "4", "--max-batch-size", "512", "--max-batch-tokens", "200000"]
    with ServerProcess(minilm, "mini", "Embed", *flags) as server:
        yield server.wait_ready()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def vectors(response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return np.array([item["embedding"] for item in response.json()["data"]])


@contextmanager
def busy(server: ServerProcess, pool: ThreadPoolExecutor) -> Iterator[Future[httpx.Response]]:
    """While the server computes one long request, and nobody waits."""
    before = server.metric("springtide_queue_wait_seconds_count")
    running = pool.submit(server.post, EMBEDDINGS, input=LONG)
    wait_until(lambda: server.metric("springtide_queue_wait_seconds_count") == before + 1)
    assert server.metric("springtide_queue_depth") == 0
    yield running
    assert running.result().status_code == 200


def ask(server: ServerProcess, priority: str | None = None, timeout: int | None = None) -> httpx.Response:
    headers = {} if priority is None else {"X-Priority": priority}
    headers |= {} if timeout is None else {"X-Request-Timeout-Ms": str(timeout)}
    return server.post(EMBEDDINGS, headers, input="high tide")


def test_answers_in_batches_equal_those_alone(embed: ServerProcess) -> None:
    texts = [f"{number} {TEXT[: 2 * number]}" for number in range(1, 43)]
    before = embed.metric("springtide_batch_rows_count")
    with ThreadPoolExecutor(24) as pool:
        together = np.concatenate(list(pool.map(lambda text: vectors(embed.post(EMBEDDINGS, input=text)), texts)))
    assert embed.metric("springtide_batch_rows_count") - before < len(texts), "no batch had two rows"
    alone = np.concatenate([vectors(embed.post(EMBEDDINGS, input=text)) for text in texts])
    assert (together * alone).sum(1).min() > 0.9999
    assert np.abs(together - alone).max() < 1e-4


def test_a_full_queue_serves_the_best_and_tells_the_others_when_to_come(small: ServerProcess) -> None:
    with ThreadPoolExecutor(8) as pool, busy(small, pool):
        background = pool.submit(ask, small, "background")
        wait_until(lambda: small.metric("springtide_queue_depth") == 1)
        standard = [pool.submit(ask, small) for _ in range(3)]
        wait_until(lambda: small.metric("springtide_queue_depth") == 4)
        refused = [(ask(small, "background"), "shed")]
        critical = pool.submit(ask, small, "critical")
        refused.append((background.result(), "evicted"))
        refused.append((ask(small), "queue_full"))
        for response, code in refused:
            error = error_of(response)
            assert (response.status_code, error["code"], error["type"]) == (429, code, "rate_limit_error")
            assert 1 <= int(response.headers["retry-after"]) <= 60
    assert [each.result().status_code for each in [*standard, critical]] == [200] * 4
    metrics = small.client.get("/metrics").text
    assert 'springtide_rejections_total{class="background",reason="evicted"} 1.0' in metrics
    assert 'springtide_queue_wait_seconds_count{class="critical"} 1.0' in metrics


def test_a_client_that_leaves_gives_up_its_place(small: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool, busy(small, pool) as running:
        body = {"model": "mini", "input": "high tide"}
        with httpx.Client(base_url=small.client.base_url) as leaving, pytest.raises(httpx.ReadTimeout):
            leaving.post(EMBEDDINGS, json=body, timeout=0.3)
        wait_until(lambda: small.metric("springtide_queue_depth") == 0)
        assert not running.done()


def test_a_deadline_is_told_while_the_model_is_busy(small: ServerProcess) -> None:
    with ThreadPoolExecutor(2) as pool, busy(small, pool) as running:
        response = ask(small, timeout=100)
        assert (response.status_code, error_of(response)["code"]) == (504, "deadline_exceeded")
        assert not running.done()
    assert ask(small, timeout=60_000).status_code == 200


@pytest.mark.parametrize(
    ("header", "value", "said"),
    [
        ("X-Priority", "gold", "critical, standard, background"),
        ("X-Priority", "", "critical, standard, background"),
        ("X-Request-Timeout-Ms", "0", "milliseconds"),
        ("X-Request-Timeout-Ms", "-5", "milliseconds"),
        ("X-Request-Timeout-Ms", "1.5", "milliseconds"),
        ("X-Request-Timeout-Ms", "9" * 30, "milliseconds"),
    ],
)
def test_headers_that_say_nothing(small: ServerProcess, header: str, value: str, said: str) -> None:
    response = small.post(EMBEDDINGS, {header: value}, input="high tide")
    error = error_of(response)
    assert (response.status_code, error["param"]) == (400, header)
    assert said in error["message"]


MOST = 30  # tokens that fit


async def test_memory_that_runs_out_in_torch_splits_the_batch(minilm: Path) -> None:
    """Raised where torch raises it, in the middle of the model."""
    calls: list[int] = []

    def load(phase: Phase) -> Any:
        loaded = loader(minilm, "Embed")(phase)

        def full(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
            calls.append(args[0].shape[0] * args[0].shape[1])
            if calls[-1] > MOST:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        engine.hook = loaded[0]._model.encoder.layer[3].register_forward_pre_hook(full)
        return loaded

    metrics, failures = Metrics(), list[ModelError]()
    engine: Any = BatchEngine("m", load, QueueSettings(), Limits(16, 8192, 0.005), metrics)
    engine.start(failures.append)
    while engine.state == "loading":  # noqa: ASYNC110  # another thread sets it
        await asyncio.sleep(0.05)
    assert engine.state == "ready", failures
    engine._policy.token_limit = 8192.0  # the calibration ran out of memory already

    async def vector(job: Job) -> bytes:
        return b"".join([result.rows[0] async for result in job.results(Vectors)])

    inputs = [[101, *range(2000, 2000 + length), 102] for length in range(1, 13)]
    calls.clear()
    jobs = [engine.submit(Embed([tokens]), Terms(1)) for tokens in inputs]
    split = [await vector(job) for job in jobs]
    assert max(calls) > MOST and (metrics.registry.get_sample_value("springtide_out_of_memory_retries_total") or 0) >= 1
    engine.hook.remove()
    whole = [await vector(engine.submit(Embed([tokens]), Terms(1))) for tokens in inputs]
    for one, other in zip(split, whole, strict=True):
        assert np.frombuffer(one, "<f4") @ np.frombuffer(other, "<f4") > 0.9999
    assert engine.alive
