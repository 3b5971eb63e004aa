"""Tensors of the Open Inference Protocol: in JSON, or as bytes after it (the binary tensor data extension). Pure."""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from springtide_server.errors import RequestError

INTEGERS = {"INT64": ("q", 8), "INT32": ("i", 4)}  # struct's letter, bytes of an element
Values = list[str] | list[int]


@dataclass(frozen=True)
class Kind:
    """A tensor that a model takes or gives: its name, the datatypes it may have, its shape; -1 is any number."""

    name: str
    datatypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def metadata(self) -> dict[str, Any]:
        """As the model's metadata tells it, which knows one datatype and one shape."""
        return {"name": self.name, "datatype": self.datatypes[0], "shape": self.shapes[0]}


@dataclass(frozen=True)
class Tensor:
    """A checked input: strings or integers, in row-major order."""

    name: str
    shape: tuple[int, ...]
    values: Values


def refusal(name: str, said: str) -> RequestError:
    """400 that names the tensor or field."""
    return RequestError(400, f"{name}: {said}", param=name)


def check(kind: Kind, datatype: str, shape: Sequence[int]) -> None:
    """Raise RequestError unless the input is of its kind and holds something."""
    if datatype not in kind.datatypes:
        raise refusal(kind.name, f"has the datatype {datatype[:16]!r}; send {' or '.join(kind.datatypes)}")
    if not any(
        len(shape) == len(one) and all(b in (-1, a) for a, b in zip(shape, one, strict=True)) for one in kind.shapes
    ):
        known = " or ".join(str(list(one)).replace("-1", "n") for one in kind.shapes)
        raise refusal(kind.name, f"has the shape {list(shape)[:8]}; send {known}")
    if not all(shape):
        raise refusal(kind.name, f"is empty (its shape is {list(shape)}); send at least one row")


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Values:
    """The elements of `data`: a flat list, or lists nested as the shape says."""
    if not isinstance(data, list):
        raise refusal(name, "has no data; send a list of its elements, or binary data with binary_data_size")
    for size in shape[1:]:
        if not (data and isinstance(data[0], list)):
            break
        if not all(isinstance(part, list) and len(part) == size for part in data):
            raise refusal(name, f"has nested data that doesn't have its shape {list(shape)}")
        data = [value for part in data for value in part]
    if len(data) != math.prod(shape):
        raise refusal(name, f"has {len(data)} elements; its shape {list(shape)} asks for {math.prod(shape)}")
    if datatype == "BYTES":
        if not all(isinstance(value, str) for value in data):
            raise refusal(name, "should hold strings")
        return list[str](data)
    bound = 1 << (8 * INTEGERS[datatype][1] - 1)
    if not all(type(value) is int and -bound <= value < bound for value in data):
        raise refusal(name, f"should hold whole numbers that fit {datatype}")
    return list[int](data)


def from_binary(name: str, datatype: str, shape: Sequence[int], data: bytes) -> Values:
    """The elements: integers little endian, strings each after its length in 4 bytes."""
    count = math.prod(shape)
    if datatype != "BYTES":
        letter, size = INTEGERS[datatype]
        if len(data) != count * size:
            raise refusal(name, f"has {len(data)} bytes; its shape {list(shape)} in {datatype} asks for {count * size}")
        return list(struct.unpack(f"<{count}{letter}", data))
    texts: list[str] = []
    place = 0
    while place < len(data) and len(texts) < count:
        length = int.from_bytes(data[place : place + 4], "little")
        element = data[place + 4 : place + 4 + length]
        if place + 4 + length > len(data):
            raise refusal(name, f"has an element at index {len(texts)} that ends after the tensor's {len(data)} bytes")
        try:
            texts.append(element.decode())
        except UnicodeDecodeError:
            raise refusal(f"{name}[{len(texts)}]", "is not valid UTF-8") from None
        place += 4 + length
    if len(texts) != count or place != len(data):
        found = f"{len(texts)} elements and {len(data) - place} bytes more"
        raise refusal(name, f"has {found}; its shape {list(shape)} asks for {count} elements")
    return texts


def to_json(datatype: str, data: list[bytes]) -> list[float] | list[str]:
    """Elements of an output for JSON; `data` is float32, little endian, for FP32, and UTF-8 texts for BYTES."""
    if datatype == "BYTES":
        return [one.decode() for one in data]
    return [value for one in data for value in struct.unpack(f"<{len(one) // 4}f", one)]


def to_binary(datatype: str, data: list[bytes]) -> bytes:
    """The same for the bytes after the JSON."""
    if datatype == "BYTES":
        return b"".join(len(one).to_bytes(4, "little") + one for one in data)
    return b"".join(data)
