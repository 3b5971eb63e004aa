"""Embeddings over HTTP, with all-MiniLM-L6-v2."""

import base64
import struct

import numpy as np
import numpy.typing as npt
import pytest

from springtide_server import answers
from tests.model_server.process import ServerProcess, error_of

TEXTS = ["A man is eating food.", "A man is eating a piece of bread.", "The stock market fell sharply on Monday. " * 6]


def vectors(server: ServerProcess, given: object) -> npt.NDArray[np.float64]:
    data = server.post("/v1/embeddings", input=given).json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return np.array([item["embedding"] for item in data])


def test_similar_sentences_are_near(embed: ServerProcess) -> None:
    rows = vectors(embed, TEXTS)
    assert rows.shape == (3, 384)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    # The value that the model's authors publish for these two sentences is 0.7553.
    assert rows[0] @ rows[1] == pytest.approx(0.7553, abs=2e-3)
    assert rows[0] @ rows[2] < 0.2


def test_a_list_gives_what_its_members_give_alone(embed: ServerProcess) -> None:
    together = vectors(embed, TEXTS)
    alone = np.concatenate([vectors(embed, text) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-4


def test_tokens_are_taken_as_they_are(embed: ServerProcess) -> None:
    tokens = [101, 7592, 2088, 102]  # [CLS] hello world [SEP]
    rows = np.concatenate([vectors(embed, "hello world"), vectors(embed, tokens), vectors(embed, [tokens])])
    assert np.abs(rows - rows[0]).max() < 1e-6


def test_base64_is_little_endian_float32(embed: ServerProcess) -> None:
    text = embed.post("/v1/embeddings", input=TEXTS[0], encoding_format="base64").json()["data"][0]["embedding"]
    assert np.allclose(np.frombuffer(base64.b64decode(text), "<f4"), vectors(embed, TEXTS[0])[0])


def test_usage_counts_the_tokens(embed: ServerProcess) -> None:
    answer = embed.post("/v1/embeddings", input=["hello world", "hello"]).json()
    assert answer["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert (answer["object"], answer["model"]) == ("list", "mini")


@pytest.mark.parametrize(
    ("param", "given", "said"),
    [
        ("input", "", "empty"),
        ("input[1]", ["a", "dog " * 300], "302"),  # sentence_bert_config.json says 256
        ("input[0]", [30522], "30521"),
    ],
)
def test_refusals(embed: ServerProcess, param: str, given: object, said: str) -> None:
    response = embed.post("/v1/embeddings", input=given)
    error = error_of(response)
    assert (response.status_code, error["param"]) == (400, param)
    assert said in error["message"]


def test_a_text_longer_than_the_tokenizer_file_allows_is_read_whole(embed: ServerProcess) -> None:
    """tokenizer.json asks to cut at 128 tokens; the model takes 256."""
    rows = vectors(embed, ["dog " * 200, "dog " * 200 + "market " * 20])
    assert rows[0] @ rows[1] < 0.999


def test_chat_is_refused(embed: ServerProcess) -> None:
    response = embed.ask("Hello")
    assert (response.status_code, error_of(response)["code"]) == (400, "wrong_task")


def test_a_vector_that_json_cannot_say_is_no_answer() -> None:
    assert answers._floats(struct.pack("<2f", 0.5, -1)) == (0.5, -1)
    with pytest.raises(ValueError, match="numbers that are not finite"):
        answers._floats(struct.pack("<2f", 0.5, float("nan")))
