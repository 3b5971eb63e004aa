"""Cached answers over HTTP: two replicas with one Redis, and what a response says of it."""

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.model_server.process import ServerProcess
from tests.model_server.redis_process import RedisProcess

PASSWORD = "a secret"
CHAT = "/v1/chat/completions"
EMBEDDINGS = "/v1/embeddings"
MISS, HIT, BYPASS = "springtide; fwd=miss", "springtide; hit", "springtide; fwd=bypass"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis"), password=PASSWORD) as server:
        yield server


@pytest.fixture(scope="module")
def replicas(redis: RedisProcess, minilm: Path, smollm2: Path) -> Iterator[list[ServerProcess]]:
    """Two encoders and a language model; calls to Redis have a second, since the machine may be busy."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SPRINGTIDE_RESULT_CACHE_PASSWORD", PASSWORD)
        flags = ["--result-cache-url", redis.url, "--result-cache-timeout-milliseconds", "1000"]
        with (
            ServerProcess(minilm, "mini", "Embed", *flags) as one,
            ServerProcess(minilm, "mini", "Embed", *flags) as other,
            ServerProcess(smollm2, "smol", "Generate", *flags, "--model-revision", "7") as chat,
        ):
            servers = [server.wait_ready() for server in (one, other, chat)]
            for server in servers:
                server._wait_for(lambda log=server.log: any(line["message"] == "result cache" for line in log()))
            yield servers


def embed(server: ServerProcess, *texts: str, **headers: str) -> httpx.Response:
    response = server.post(EMBEDDINGS, {name.replace("_", "-"): value for name, value in headers.items()}, input=texts)
    assert response.status_code == 200, response.text
    return response


def status(response: httpx.Response) -> str:
    return response.headers["cache-status"]


def eventually_hit(server: ServerProcess, text: str, **headers: str) -> httpx.Response:
    """A result is kept a moment after its answer was sent."""
    found: list[httpx.Response] = []

    def hit() -> bool:
        found.append(embed(server, text, **headers))
        return status(found[-1]) == HIT

    server._wait_for(hit)
    return found[-1]


def test_replicas_of_one_model_share(replicas: list[ServerProcess]) -> None:
    one, other, _ = replicas
    first = embed(one, "high tide")
    assert status(first) == MISS
    assert eventually_hit(other, "high tide").json() == first.json()
    assert other.metric("springtide_prompt_tokens_total") == 0, "nothing was computed"
    assert status(embed(other, "high tide", "low tide")) == 'springtide; fwd=partial; detail="1 of 2 rows"'
    other._wait_for(lambda: other.metric("springtide_result_cache_entry_bytes_count") == 1)


def test_both_apis_share(replicas: list[ServerProcess]) -> None:
    one = replicas[0]
    embed(one, "spring tide")
    eventually_hit(one, "spring tide")
    given = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["spring tide"]}
    response = one.client.post("/v2/models/mini/infer", json={"inputs": [given]})
    assert (response.status_code, status(response)) == (200, HIT)


def test_tenants_do_not(replicas: list[ServerProcess]) -> None:
    one = replicas[0]
    embed(one, "neap tide", X_Tenant="a")
    eventually_hit(one, "neap tide", X_Tenant="a")
    assert status(embed(one, "neap tide", X_Tenant="b")) == MISS
    assert status(embed(one, "neap tide")) == MISS


@pytest.mark.parametrize("directive", ["no-store", "max-age=0, No-Store", "no-cache"])
def test_a_request_may_opt_out(replicas: list[ServerProcess], redis: RedisProcess, directive: str) -> None:
    one = replicas[0]
    before = redis.entries()
    for _ in range(2):
        assert status(embed(one, f"ebb {directive}", Cache_Control=directive)) == "springtide; fwd=request"
    assert redis.entries() == before


def test_equal_requests_at_once_are_computed_once(replicas: list[ServerProcess]) -> None:
    one = replicas[0]
    name = 'springtide_result_cache_rows_total{outcome="miss"}'

    def misses() -> float:
        return next(
            (float(line.split()[-1]) for line in one.client.get("/metrics").text.splitlines() if line.startswith(name)),
            0,
        )

    before = misses()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: embed(one, "twenty at once").json(), range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert misses() == before + 1


def test_greedy_text_is_kept_and_other_text_is_not(replicas: list[ServerProcess]) -> None:
    chat = replicas[2]
    first = chat.ask("What is the capital of France?", max_tokens=8, seed=1)
    assert status(first) == MISS

    def again() -> httpx.Response:
        return chat.ask("What is the capital of France?", max_tokens=8, top_p=0.5)

    chat._wait_for(lambda: status(again()) == HIT)
    for field in ("choices", "usage"):
        assert again().json()[field] == first.json()[field]
    assert status(chat.ask("What is the capital of France?", max_tokens=7)) == MISS
    assert status(chat.ask("What is the capital of France?", max_tokens=8, temperature=1)) == BYPASS
    assert status(chat.ask("What is the capital of France?", max_tokens=8, stream=True)) == BYPASS


def test_without_redis_everything_is_answered(replicas: list[ServerProcess], redis: RedisProcess) -> None:
    """Last of all: it takes Redis away."""
    one = replicas[0]
    before = embed(one, "high tide").json()
    redis.freeze()
    try:
        answers = [embed(one, "high tide") for _ in range(8)]
    finally:
        redis.thaw()
    assert one.metric("springtide_result_cache_errors_total") == 5
    assert one.metric("springtide_result_cache_available") == 0
    redis.process.send_signal(signal.SIGKILL)
    answers.append(embed(one, "high tide"))
    for answer in answers:
        assert status(answer) == MISS
        assert answer.json()["usage"] == before["usage"]
    assert PASSWORD not in one.stderr()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--result-cache-url", "http://cache:6379"], "redis://HOST"),
        (["--result-cache-url", "cache:6379"], "redis://HOST"),
        (["--result-cache-url", "redis://:secret@cache:6379"], "SPRINGTIDE_RESULT_CACHE_PASSWORD"),
        (["--result-cache-url", "redis://cache:port"], "Port"),
        (["--result-cache-ttl-seconds", "0"], "less than 1"),
    ],
)
def test_options_that_are_wrong(
    minilm: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from springtide_server.__main__ import _arguments

    base = ["server", "--model", str(minilm), "--served-model-name", "m", "--task", "Embed"]
    monkeypatch.setattr("sys.argv", [*base, *arguments])
    with pytest.raises(SystemExit) as ended:
        _arguments()
    error = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert arguments[0] in error and said in error
