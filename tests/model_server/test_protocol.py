"""Requests that are refused say which field is at fault."""

import json
from typing import Any

import pytest

from springtide_server.errors import RequestError
from springtide_server.protocol import ChatRequest, EmbeddingRequest, parse

HELLO = [{"role": "user", "content": "Hello"}]


def chat(**fields: Any) -> ChatRequest:
    return parse(ChatRequest, json.dumps({"model": "m", "messages": HELLO, **fields}).encode())


def embedding(**fields: Any) -> EmbeddingRequest:
    return parse(EmbeddingRequest, json.dumps({"model": "m", **fields}).encode())


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("model", {"model": 1}),
        ("messages", {"messages": []}),
        ("messages", {"messages": "Hello"}),
        ("messages[0].role", {"messages": [{"role": "boss", "content": "x"}]}),
        ("messages[1].content", {"messages": [*HELLO, {"role": "user"}]}),
        ("messages[0].content", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}),
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": "5"}),
        ("max_completion_tokens", {"max_completion_tokens": 1.5}),
        ("temperature", {"temperature": 2.1}),
        ("temperature", {"temperature": -1}),
        ("top_p", {"top_p": 0}),
        ("seed", {"seed": 2**63}),
        ("stop", {"stop": ["a", ""]}),
        ("stop", {"stop": list("abcde")}),
        ("stream", {"stream": "yes"}),
        ("stream_options.include_usage", {"stream": True, "stream_options": {"include_usage": 1}}),
        ("n", {"n": 2}),
        ("tools", {"tools": [{"type": "function"}]}),
        ("logprobs", {"logprobs": 2}),
        ("top_logprobs", {"logprobs": True, "top_logprobs": 21}),
        ("top_k", {"top_k": -2}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("best_of", {"best_of": 2}),
    ],
)
def test_chat_refusals_name_the_field(param: str, fields: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as refused:
        chat(**fields)
    assert (refused.value.status, refused.value.param) == (400, param)
    assert refused.value.message.startswith(f"{param}: ")


def test_what_must_agree() -> None:
    with pytest.raises(RequestError, match="max_tokens and max_completion_tokens differ"):
        chat(max_tokens=1, max_completion_tokens=2)
    with pytest.raises(RequestError, match="logprobs: true"):
        chat(top_logprobs=3)
    with pytest.raises(RequestError, match="stream: true"):
        chat(stream_options={"include_usage": True})


def test_neutral_and_descriptive_parameters_are_accepted() -> None:
    fields = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0.0, "logprobs": False, "tools": [], "user": "u"}
    assert chat(**fields, response_format={"type": "text"}, top_p=None, stop=None).stop == []


def test_both_names_of_the_length() -> None:
    assert chat(max_tokens=3).limit == chat(max_completion_tokens=3).limit == 3


def test_text_parts_become_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages[0].content == "a\nb"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"model": "\\ud800"}', b"[" * 100_000])
def test_malformed_json(body: bytes) -> None:
    with pytest.raises(RequestError, match="not valid JSON") as refused:
        parse(ChatRequest, body)
    assert refused.value.status == 400


def test_json_that_is_no_object() -> None:
    with pytest.raises(RequestError, match="should be a JSON object"):
        parse(ChatRequest, b"[]")


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([1, 2], [[1, 2]]), ([[1], [2, 3]], [[1], [2, 3]])],
)
def test_inputs(given: Any, inputs: list[Any]) -> None:
    assert embedding(input=given).input == inputs


@pytest.mark.parametrize(
    "given", ["", [], [[]], ["a", ""], ["a", [1]], [1, "a"], [-1], [True], [1.5], None, {}, ["a"] * 2049]
)
def test_inputs_that_are_refused(given: Any) -> None:
    with pytest.raises(RequestError) as refused:
        embedding(input=given)
    assert (refused.value.status, refused.value.param) == (400, "input")


def test_embedding_options() -> None:
    for fields in ({"encoding_format": "hex"}, {"dimensions": 12}):
        with pytest.raises(RequestError) as refused:
            embedding(input="a", **fields)
        assert refused.value.param == next(iter(fields))
