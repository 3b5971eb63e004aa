"""The Open Inference Protocol's requests and answers, without a server."""

import json
import struct
import tomllib
from pathlib import Path
from typing import Any

import pytest

from springtide_server import __version__, oip
from springtide_server.errors import RequestError
from springtide_server.protocol import Task

FLOATS = [struct.pack("<2f", 0.5, -1.0), struct.pack("<2f", 2.0, 0.25)]


def text(*data: str, **fields: Any) -> dict[str, Any]:
    return {"name": "text", "shape": [len(data)], "datatype": "BYTES", "data": list(data), **fields}


def ids(shape: list[int], data: Any, name: str = "input_ids", **fields: Any) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": "INT64", "data": data, **fields}


def read(*inputs: dict[str, Any], task: Task = "Embed", **fields: Any) -> oip.Asked[Any]:
    return oip.read(task, json.dumps({"inputs": list(inputs), **fields}).encode(), None)


def read_binary(tensor: dict[str, Any], data: bytes, extra: bytes = b"") -> oip.Asked[Any]:
    tensor = {name: value for name, value in tensor.items() if name != "data"}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(data)}}]}).encode()
    return oip.read("Embed", head + data + extra, str(len(head)))


def strings(*texts: bytes) -> bytes:
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def refused(call: Any) -> tuple[str | None, str]:
    with pytest.raises(RequestError) as error:
        call()
    assert error.value.status == 400
    return error.value.param, error.value.message


def test_texts_in_json_and_in_bytes() -> None:
    assert oip.embed_inputs(read(text("a", "é"))) == ("text", ["a", "é"])
    assert oip.embed_inputs(read(text("a", "é", shape=[2, 1], data=[["a"], ["é"]]))) == ("text", ["a", "é"])
    assert oip.embed_inputs(read_binary(text("", ""), strings(b"a", "é".encode()))) == ("text", ["a", "é"])


def test_tokens_in_json_and_in_bytes_flat_and_nested() -> None:
    expected = ("input_ids", [[1, 2, 3], [4, 5, 6]])
    assert oip.embed_inputs(read(ids([2, 3], [1, 2, 3, 4, 5, 6]))) == expected
    assert oip.embed_inputs(read(ids([2, 3], [[1, 2, 3], [4, 5, 6]]))) == expected
    assert oip.embed_inputs(read_binary(ids([2, 3], None), struct.pack("<6q", *range(1, 7)))) == expected
    assert (
        oip.embed_inputs(read_binary(ids([2, 3], None, datatype="INT32"), struct.pack("<6i", *range(1, 7)))) == expected
    )


def test_a_mask_takes_padding_away_on_either_side() -> None:
    mask = ids([3, 3], [1, 1, 0, 0, 1, 1, 1, 1, 1], "attention_mask")
    asked = read(ids([3, 3], [1, 2, 0, 0, 5, 6, 7, 8, 9]), mask)
    assert oip.embed_inputs(asked) == ("input_ids", [[1, 2], [5, 6], [7, 8, 9]])


@pytest.mark.parametrize(
    ("inputs", "param", "said"),
    [
        ([text("a", name="txt")], "inputs[0].name", "'txt'; this model has text, input_ids, attention_mask"),
        ([text("a"), text("b")], "inputs[1].name", "twice"),
        ([text("a", datatype="FP32")], "text", "'FP32'; send BYTES"),
        ([ids([1, 1], [1.0], datatype="FP16")], "input_ids", "INT64 or INT32"),
        ([text("a", shape=[1, 2])], "text", "[1, 2]; send [n] or [n, 1]"),
        ([text("a", shape=[])], "text", "shape []"),
        ([text("a", shape=[-1])], "text", "asks for -1"),
        ([text("a", shape=[2**62, 1])], "text", "has 1 elements"),
        ([text()], "text", "is empty"),
        ([ids([2, 0], [])], "input_ids", "is empty"),
        ([text("a", "")], "text[1]", "is empty"),
        ([text("a", shape=[2])], "text", "has 1 elements; its shape [2] asks for 2"),
        ([text("a", data="a")], "text", "has no data"),
        ([text("a", data=[1])], "text", "strings"),
        ([text("a", data=None)], "text", "has no data"),
        ([ids([2, 2], [[1, 2, 3], [4]])], "input_ids", "nested data"),
        ([ids([1, 2], [1, 2.5])], "input_ids", "whole numbers that fit INT64"),
        ([ids([1, 1], [True])], "input_ids", "whole numbers"),
        ([ids([1, 1], [2**63])], "input_ids", "fit INT64"),
        ([ids([1, 1], [2**31], datatype="INT32")], "input_ids", "fit INT32"),
        ([ids([1, 2], [1, -2])], "input_ids", "token -2"),
        ([text("a"), ids([1, 1], [1])], "text", "together"),
        ([ids([1, 1], [1], "attention_mask")], "input_ids", "required"),
        ([ids([1, 2], [1, 2]), ids([2, 1], [1, 1], "attention_mask")], "attention_mask", "[2, 1]"),
        ([ids([1, 3], [1, 2, 3]), ids([1, 3], [1, 0, 1], "attention_mask")], "attention_mask[0]", "middle"),
        ([ids([1, 2], [1, 2]), ids([1, 2], [1, 7], "attention_mask")], "attention_mask[0]", "0 and 1"),
        ([text(*["a"] * 2049)], "text", "2049 rows"),
        ([text("a", shape="1")], "inputs[0].shape", "array"),
        (
            [text("a", parameters={"shared_memory_region": "r"})],
            "inputs[0].parameters.shared_memory_region",
            "leave it",
        ),
        ([], "inputs", "at least 1"),
    ],
)
def test_refusals_name_the_input(inputs: list[dict[str, Any]], param: str, said: str) -> None:
    found, message = refused(lambda: oip.embed_inputs(read(*inputs)))
    assert found == param
    assert message.startswith(f"{param}: ") and said in message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"outputs": [{"name": "other"}]}, "outputs[0].name"),
        ({"outputs": [{"name": "embedding"}] * 2}, "outputs[1].name"),
        (
            {"outputs": [{"name": "embedding", "parameters": {"classification": 3}}]},
            "outputs[0].parameters.classification",
        ),
        ({"parameters": {"priority": 1}}, "parameters.priority"),
        ({"parameters": {"temperature": 1}}, "parameters.temperature"),
        ({"id": 5}, "id"),
        ({"more": 5}, "more"),
    ],
)
def test_refusals_around_the_inputs(fields: dict[str, Any], param: str) -> None:
    assert refused(lambda: read(text("a"), **fields))[0] == param


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("temperature", 3),
        ("top_p", 0),
        ("stop", ["", "a"]),
        ("seed", "a"),
        ("n", 2),
    ],
)
def test_refusals_of_parameters_for_text(param: str, value: Any) -> None:
    tensor = text("a", name="text_input")
    found = refused(lambda: read(tensor, task="Generate", parameters={param: value}))[0]
    assert found == f"parameters.{param}"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"inputs": ["\xff"]}', b"[" * 100_000, b"null"])
def test_no_json(body: bytes) -> None:
    refused(lambda: oip.read("Embed", body, None))


@pytest.mark.parametrize(
    ("data", "param", "said"),
    [
        (strings(b"a"), "text", "1 elements and 0 bytes more"),
        (strings(b"a", b"b", b"c"), "text", "2 elements and 5 bytes more"),
        (strings(b"a") + b"\xff\xff\xff\xffb", "text", "index 1 that ends after"),
        (strings(b"a") + b"\x01", "text", "index 1 that ends after"),
        (strings(b"a", b"\xc3"), "text[1]", "UTF-8"),
        (b"", "text", "0 elements"),
    ],
)
def test_strings_in_bytes_that_are_none(data: bytes, param: str, said: str) -> None:
    found, message = refused(lambda: read_binary(text("", ""), data))
    assert (found, said in message) == (param, True), message


def test_sizes_of_binary_data_that_do_not_fit() -> None:
    assert "asks for 16" in refused(lambda: read_binary(ids([1, 2], None), bytes(15)))[1]
    assert "leaves 3 bytes" in refused(lambda: read_binary(ids([1, 2], None), bytes(16), b"abc"))[1]
    too_much = read_binary, ids([1, 2], None)
    head = json.dumps({"inputs": [{**too_much[1], "data": None, "parameters": {"binary_data_size": 16}}]}).encode()
    assert "only 2 bytes" in refused(lambda: oip.read("Embed", head + b"ab", str(len(head))))[1]
    both = ids([1, 1], [1], parameters={"binary_data_size": 8})
    assert "data as well" in refused(lambda: read(both))[1]
    for value in ("", "-1", "0", "1e3", "9" * 5000, "4096", "²"):
        assert refused(lambda value=value: oip.read("Embed", b"{}", value))[0] == oip.LENGTH_HEADER


def test_answers() -> None:
    asked = read(text("a", "b"), id="7")
    body, headers = oip.answer("Embed", "m", asked, (2, 2), FLOATS)
    output = {"name": "embedding", "datatype": "FP32", "shape": [2, 2]}
    assert headers == {"Content-Type": "application/json"}
    assert json.loads(body) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [{**output, "data": [0.5, -1.0, 2.0, 0.25]}],
    }
    for fields in (
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "embedding", "parameters": {"binary_data": True}}]},
    ):
        body, headers = oip.answer("Embed", "m", read(text("a", "b"), **fields), (2, 2), FLOATS)
        length = int(headers[oip.LENGTH_HEADER])
        assert body[length:] == b"".join(FLOATS)
        assert json.loads(body[:length])["outputs"] == [{**output, "parameters": {"binary_data_size": 16}}]


def test_texts_as_answers() -> None:
    asked = read(text("a", name="text_input"), task="Generate", parameters={"binary_data_output": True})
    body, headers = oip.answer("Generate", "m", asked, (2,), ["é".encode(), b""])
    assert body[int(headers[oip.LENGTH_HEADER]) :] == strings("é".encode(), b"")


def test_the_version_is_that_of_the_distribution() -> None:
    project = Path(__file__).resolve().parents[2] / "model_server" / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == __version__


def test_numbers_that_json_does_not_have_are_never_sent_as_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        oip.answer("Embed", "m", read(text("a")), (1, 1), [struct.pack("<f", float("nan"))])
