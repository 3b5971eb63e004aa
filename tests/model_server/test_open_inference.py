"""The Open Inference Protocol over HTTP: Triton's own client, unmodified, and requests that are wrong."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.model_server.process import ServerProcess

TEXTS = ["A man is eating food.", "The tide is high — é."]


def client_of(server: ServerProcess) -> InferenceServerClient:
    return InferenceServerClient(f"127.0.0.1:{server.client.base_url.port}", concurrency=4, network_timeout=120)


@pytest.fixture(scope="module")
def mini(embed: ServerProcess) -> Iterator[InferenceServerClient]:
    with client_of(embed) as client:
        yield client


@pytest.fixture(scope="module")
def smol(chat: ServerProcess) -> Iterator[InferenceServerClient]:
    with client_of(chat) as client:
        yield client


def tensor(name: str, values: Any, binary: bool = True) -> InferInput:
    array = np.array(values)
    if is_text := array.dtype.kind == "U":
        array = array.astype(np.object_)
    given = InferInput(name, array.shape, "BYTES" if is_text else "INT64")
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def expected(server: ServerProcess, given: object) -> Any:
    return np.array([item["embedding"] for item in server.post("/v1/embeddings", input=given).json()["data"]])


def test_what_the_server_and_the_model_say_of_themselves(mini: InferenceServerClient) -> None:
    assert mini.is_server_live() and mini.is_server_ready()
    assert mini.is_model_ready("mini") and mini.is_model_ready("mini", "1")
    assert not mini.is_model_ready("other") and not mini.is_model_ready("mini", "2")
    server = mini.get_server_metadata()
    assert (server["name"], "binary_tensor_data" in server["extensions"]) == ("springtide", True)
    assert server["version"]
    model = mini.get_model_metadata("mini")
    assert model["versions"] == ["1"]
    assert [one["name"] for one in model["inputs"]] == ["text", "input_ids", "attention_mask"]
    assert model["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": [-1, -1]}]


@pytest.mark.parametrize("binary", [True, False])
def test_texts(mini: InferenceServerClient, embed: ServerProcess, binary: bool) -> None:
    outputs = [InferRequestedOutput("embedding", binary_data=binary)]
    result = mini.infer("mini", [tensor("text", TEXTS, binary)], outputs=outputs, request_id="7")
    assert result.get_response()["id"] == "7"
    assert np.abs(result.as_numpy("embedding") - expected(embed, TEXTS)).max() < 1e-5


def test_the_client_as_it_comes(mini: InferenceServerClient, embed: ServerProcess) -> None:
    """No outputs named: all of them, as bytes."""
    result = mini.infer("mini", [tensor("text", [[text] for text in TEXTS])], model_version="1")
    vectors = result.as_numpy("embedding")
    assert (vectors.shape, vectors.dtype) == ((2, 384), np.float32)
    assert "data" not in result.get_output("embedding")
    assert np.abs(vectors - expected(embed, TEXTS)).max() < 1e-5


@pytest.mark.parametrize("binary", [True, False])
def test_tokens_with_padding(mini: InferenceServerClient, embed: ServerProcess, binary: bool) -> None:
    ids = tensor("input_ids", [[101, 7592, 2088, 102], [101, 7592, 102, 0]], binary)
    mask = tensor("attention_mask", [[1, 1, 1, 1], [1, 1, 1, 0]], binary)
    vectors = mini.infer("mini", [ids, mask]).as_numpy("embedding")
    assert np.abs(vectors - expected(embed, ["hello world", "hello"])).max() < 1e-5


def test_text_goes_on(smol: InferenceServerClient) -> None:
    prompt = tensor("text_input", ["The capital of France is"])
    result = smol.infer("smol", [prompt], parameters={"temperature": 0, "max_tokens": 8})
    (text,) = result.as_numpy("text_output")
    assert "Paris" in text.decode()
    stopped = smol.infer("smol", [prompt], parameters={"temperature": 0, "max_tokens": 8, "stop": "Paris"})
    assert stopped.as_numpy("text_output")[0] == text.split(b"Paris")[0]
    two = smol.infer("smol", [tensor("text_input", [["The capital of France is"], ["One, two, three,"]], False)])
    assert two.as_numpy("text_output").shape == (2, 1)


def test_a_prompt_longer_than_the_context(smol: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match=r"text_input\[0\]: has 90\d\d tokens, and the model's context"):
        smol.infer("smol", [tensor("text_input", ["dog " * 9000])])


def test_the_client_is_told_what_is_wrong(mini: InferenceServerClient) -> None:
    given = tensor("text", TEXTS)
    cases: list[tuple[Callable[[], Any], str, str]] = [
        (lambda: mini.infer("other", [given]), "404", "no model 'other'"),
        (lambda: mini.infer("mini", [given], model_version="3"), "404", "version '3'"),
        (lambda: mini.infer("mini", [tensor("texts", TEXTS)]), "400", "inputs[0].name"),
        (lambda: mini.infer("mini", [tensor("input_ids", [[30522]])]), "400", "input_ids[0]: has the token 30522"),
        (lambda: mini.infer("mini", [tensor("text", ["a", "dog " * 300])]), "400", "text[1]: has 302 tokens"),
        (lambda: mini.infer("mini", [given], headers={"X-Priority": "gold"}), "400", "X-Priority"),
        (lambda: mini.infer("mini", [given], headers={"X-Request-Timeout-Ms": "0"}), "400", "X-Request-Timeout-Ms"),
        (lambda: mini.infer("mini", [given], request_compression_algorithm="gzip"), "415", "Content-Encoding"),
        (lambda: mini.get_model_metadata("other"), "404", "no model 'other'"),
        (lambda: mini.get_model_config("mini"), "404", ""),
    ]
    for call, status, said in cases:
        with pytest.raises(InferenceServerException) as error:
            call()
        assert error.value.status() == status
        assert said in error.value.message()


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"inputs": []}', {}, 400),
        (b"[" * 50_000, {}, 400),
        (b"{}", {"Inference-Header-Content-Length": "99"}, 400),
        (b" " * 10_000_000, {}, 413),
    ],
)
def test_bodies_that_are_wrong(embed: ServerProcess, content: bytes, headers: dict[str, str], status: int) -> None:
    response = embed.client.post("/v2/models/mini/infer", content=content, headers=headers)
    assert response.status_code == status
    assert set(response.json()) == {"error"} and response.json()["error"]
    assert embed.client.get("/v2/models/mini/ready").json() == {"name": "mini", "ready": True}


def test_bad_requests_among_good_ones_harm_nobody(embed: ServerProcess) -> None:
    good = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["high tide"]}

    def ask(number: int) -> httpx.Response:
        given = good if number % 2 else {**good, "shape": [2]}
        return embed.client.post("/v2/models/mini/infer", json={"inputs": [given]})

    with ThreadPoolExecutor(8) as pool:
        codes = [response.status_code for response in pool.map(ask, range(32))]
    assert codes == [400, 200] * 16


def test_methods_and_paths(embed: ServerProcess) -> None:
    for response, status in (
        (embed.client.post("/v2/models/mini/ready"), 405),
        (embed.client.get("/v2/models/mini/infer"), 404),
        (embed.client.get("/v2/nothing"), 404),
        (embed.client.get("/v2/models/a/b/ready"), 404),
    ):
        assert (response.status_code, set(response.json())) == (status, {"error"})


def test_metrics_have_one_series_for_all_models_that_are_asked_for(embed: ServerProcess) -> None:
    for name in ("mini", "a", "b"):
        embed.client.post(f"/v2/models/{name}/infer", content=b"{}")
    series = [line for line in embed.client.get("/metrics").text.splitlines() if "/v2/models/" in line]
    assert any(
        line.startswith('springtide_requests_total{code="404",route="/v2/models/{model}/infer"}') for line in series
    )
    assert not any("/v2/models/a" in line for line in series)
