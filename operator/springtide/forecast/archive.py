"""Arrays as bytes that can be trusted when they are read again: an npz with a kind, a version and a digest."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from springtide.forecast.horizon import Array


class BadArchive(ValueError):
    """The bytes are not what was asked for; the message says why."""


def pack(kind: str, version: int, arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of the arrays, the same for the same arrays."""
    out = io.BytesIO()
    pack_into(out, kind, version, arrays)
    return out.getvalue()


def pack_into(file: BinaryIO, kind: str, version: int, arrays: Mapping[str, Array]) -> None:
    """Write what `pack` returns, array by array."""
    about = {
        "about/kind": np.array(kind),
        "about/version": np.array(version),
        "about/digest": np.array(_digest(arrays)),
    }
    np.savez(file, allow_pickle=False, **about, **arrays)


def unpack(kind: str, version: int, data: bytes | BinaryIO) -> dict[str, Array]:
    """Return the arrays of bytes or of a file; raises BadArchive when they are damaged, of another kind or version."""
    try:
        with np.load(io.BytesIO(data) if isinstance(data, bytes) else data, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = {name: arrays.pop(f"about/{name}").item() for name in ("kind", "version", "digest")}
    except (AttributeError, EOFError, KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise BadArchive(f"not a {kind}, or damaged: {error}") from None
    if about["kind"] != kind:
        raise BadArchive(f"a {about['kind']}, not a {kind}")
    if about["version"] != version:
        raise BadArchive(f"a {kind} of version {about['version']}; this version of Springtide reads version {version}")
    if about["digest"] != _digest(arrays):
        raise BadArchive(f"a damaged {kind}: its digest is not that of its content")
    return arrays


def _digest(arrays: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
