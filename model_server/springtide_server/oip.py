"""The Open Inference Protocol, version 2, as far as this server speaks it: requests, checked, and answers. Pure.

As in the OpenAI API, what would change the answer and isn't honoured is refused by name.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from springtide_server.oip_tensors import Kind, Tensor, check, from_binary, from_json, refusal, to_binary, to_json
from springtide_server.protocol import MAX_INPUTS, Stops, Task, parse

LENGTH_HEADER = "Inference-Header-Content-Length"
VERSION = "1"  # of the one model that a server has
TEXT = ("BYTES",)
TOKENS = ("INT64", "INT32")
INPUTS: dict[Task, tuple[Kind, ...]] = {
    "Embed": (
        Kind("text", TEXT, ((-1,), (-1, 1))),
        Kind("input_ids", TOKENS, ((-1, -1),)),
        Kind("attention_mask", TOKENS, ((-1, -1),)),
    ),
    "Generate": (Kind("text_input", TEXT, ((-1,), (-1, 1))),),
}
OUTPUTS: dict[Task, Kind] = {
    "Embed": Kind("embedding", ("FP32",), ((-1, -1),)),
    "Generate": Kind("text_output", TEXT, ((-1,),)),
}


class _Fields(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class Parameters(_Fields):
    """Of a request to any model."""

    binary_data_output: bool = False


class GenerateParameters(Parameters):
    """Of a request for text: as in the OpenAI API, but `max_tokens` is 16 by default, as in Triton's LLM backends."""

    max_tokens: int = Field(16, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stops = []


class InputParameters(_Fields):
    """Of one input."""

    binary_data_size: int | None = Field(None, ge=0)


class Input(_Fields):
    """One input: its elements are in `data`, or among the bytes after the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: InputParameters = InputParameters()
    data: Any = None


class OutputParameters(_Fields):
    """Of one output that is asked for."""

    binary_data: bool = False


class Output(_Fields):
    """One output that is asked for."""

    name: str
    parameters: OutputParameters = OutputParameters()


P = TypeVar("P", bound=Parameters)


class _Request(_Fields, Generic[P]):
    id: str | None = None
    parameters: P
    inputs: list[Input] = Field(min_length=1)
    outputs: list[Output] = []


class EmbedRequest(_Request[Parameters]):
    """POST /v2/models/MODEL/infer of an encoder."""

    parameters: Parameters = Parameters()


class GenerateRequest(_Request[GenerateParameters]):
    """POST /v2/models/MODEL/infer of a language model."""

    parameters: GenerateParameters = GenerateParameters()


@dataclass(frozen=True)
class Asked(Generic[P]):
    """What a request asks for."""

    id: str | None
    parameters: P
    tensors: dict[str, Tensor]
    binary: bool
    """Whether the output goes as bytes after the JSON."""


def read(task: Task, body: bytes, json_length: str | None) -> Asked[Any]:
    """The request; `json_length` is the header that says how much of the body is JSON; RequestError names the fault."""
    json_part, rest = _split(body, json_length)
    fields: _Request[Any] = parse(EmbedRequest if task == "Embed" else GenerateRequest, json_part)
    kinds = {kind.name: kind for kind in INPUTS[task]}
    tensors: dict[str, Tensor] = {}
    for index, one in enumerate(fields.inputs):
        if one.name not in kinds:
            raise refusal(
                f"inputs[{index}].name", f"there is no input {one.name[:64]!r}; this model has {', '.join(kinds)}"
            )
        if one.name in tensors:
            raise refusal(f"inputs[{index}].name", f"{one.name} is there twice")
        check(kinds[one.name], one.datatype, one.shape)
        size = one.parameters.binary_data_size
        if size is None:
            values = from_json(one.name, one.datatype, one.shape, one.data)
        else:
            if one.data is not None or size > len(rest):
                said = "data as well" if one.data is not None else f"only {len(rest)} bytes after the JSON"
                raise refusal(one.name, f"has binary_data_size {size}, but {said}")
            values = from_binary(one.name, one.datatype, one.shape, rest[:size])
            rest = rest[size:]
        tensors[one.name] = Tensor(one.name, tuple(one.shape), values)
    if rest:
        raise refusal("inputs", f"have binary_data_size that leaves {len(rest)} bytes of the body over")
    name = OUTPUTS[task].name
    for index, output in enumerate(fields.outputs):
        if output.name != name or index:
            raise refusal(f"outputs[{index}].name", f"this model has one output, {name}")
    binary = fields.outputs[0].parameters.binary_data if fields.outputs else False
    return Asked(fields.id, fields.parameters, tensors, binary or fields.parameters.binary_data_output)


def texts(asked: Asked[Any], name: str) -> list[str]:
    """A text for each row of the input."""
    if name not in asked.tensors:
        raise refusal(name, "this input is required")
    rows = [str(value) for value in asked.tensors[name].values]
    _bound(name, len(rows))
    for index, row in enumerate(rows):
        if not row:
            raise refusal(f"{name}[{index}]", "is empty; leave it out")
    return rows


def embed_inputs(asked: Asked[Parameters]) -> tuple[str, Sequence[str | list[int]]]:
    """The name of the input that was sent, and its rows: texts, or tokens without their padding."""
    given = asked.tensors
    if "text" in given:
        if len(given) > 1:
            raise refusal("text", "can't be sent together with tokens; send text or input_ids")
        return "text", texts(asked, "text")
    if "input_ids" not in given:
        raise refusal("input_ids", "is required with attention_mask")
    tokens, (count, length) = [int(value) for value in given["input_ids"].values], given["input_ids"].shape
    _bound("input_ids", count)
    if tokens and min(tokens) < 0:
        raise refusal("input_ids", f"has the token {min(tokens)}; tokens begin at 0")
    rows = [tokens[place : place + length] for place in range(0, count * length, length)]
    if (mask := given.get("attention_mask")) is None:
        return "input_ids", rows
    if mask.shape != (count, length):
        raise refusal("attention_mask", f"has the shape {list(mask.shape)}, and input_ids {[count, length]}")
    return "input_ids", [
        _unpadded(index, row, [int(value) for value in mask.values[index * length : (index + 1) * length]])
        for index, row in enumerate(rows)
    ]


def _unpadded(index: int, row: list[int], mask: list[int]) -> list[int]:
    """The tokens that the mask leaves, which must be neighbours: the model sees them without a gap."""
    name = f"attention_mask[{index}]"
    if not set(mask) <= {0, 1}:
        raise refusal(name, "should hold 0 and 1 only")
    first, kept = mask.index(1) if 1 in mask else 0, sum(mask)
    if mask[first : first + kept] != [1] * kept:
        raise refusal(name, "masks tokens in the middle; only padding before or after the tokens can be masked")
    return row[first : first + kept]


def _bound(name: str, rows: int) -> None:
    if rows > MAX_INPUTS:
        raise refusal(name, f"has {rows} rows; send at most {MAX_INPUTS}")


def _split(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    if json_length is None:
        return body, b""
    if not (json_length.isascii() and json_length.isdecimal() and 0 < int(json_length[:12]) <= len(body)):
        said = f"should be the number of bytes of JSON at the body's start, from 1 to {len(body)}"
        raise refusal(LENGTH_HEADER, said)
    return body[: int(json_length)], body[int(json_length) :]


def metadata(task: Task, name: str) -> dict[str, Any]:
    """GET /v2/models/MODEL."""
    inputs = [kind.metadata for kind in INPUTS[task]]
    outputs = [OUTPUTS[task].metadata]
    return {"name": name, "versions": [VERSION], "platform": "pytorch", "inputs": inputs, "outputs": outputs}


def answer(
    task: Task, name: str, asked: Asked[Any], shape: Sequence[int], rows: list[bytes]
) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer: rows of float32, or texts in UTF-8."""
    kind = OUTPUTS[task]
    datatype = kind.datatypes[0]
    output: dict[str, Any] = {"name": kind.name, "datatype": datatype, "shape": list(shape)}
    head: dict[str, Any] = {"model_name": name, "model_version": VERSION, "outputs": [output]}
    if asked.id is not None:
        head["id"] = asked.id
    if not asked.binary:
        output["data"] = to_json(datatype, rows)
        return _dump(head), {"Content-Type": "application/json"}
    data = to_binary(datatype, rows)
    output["parameters"] = {"binary_data_size": len(data)}
    json_part = _dump(head)
    return json_part + data, {"Content-Type": "application/octet-stream", LENGTH_HEADER: str(len(json_part))}


def _dump(head: dict[str, Any]) -> bytes:
    # NaN is no JSON: a model that gives one is at fault, and the client learns of it.
    return json.dumps(head, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
