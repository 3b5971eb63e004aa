"""Answering requests for embeddings in OpenAI's shape."""

import asyncio
import base64
import math
import struct

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from springtide_server.engine.work import Terms
from springtide_server.protocol import EmbeddingRequest
from springtide_server.results import Results, tokens_of


async def embeddings(request: Request, asked: EmbeddingRequest, terms: Terms, results: Results) -> Response:
    """A vector for each input."""
    inputs = await asyncio.to_thread(tokens_of, asked.input, "input", results.engine)
    rows = await results.vectors(request, inputs, terms)
    count = sum(map(len, inputs))
    encode = _base64 if asked.encoding_format == "base64" else _floats
    data = [{"object": "embedding", "index": i, "embedding": encode(row)} for i, row in enumerate(rows)]
    usage = {"prompt_tokens": count, "total_tokens": count}
    # Hundreds of numbers a row: the standard library's encoder takes eight times as long, on the event loop.
    body = to_json({"object": "list", "data": data, "model": asked.model, "usage": usage})
    return Response(body, media_type="application/json")


def _floats(row: bytes) -> tuple[float, ...]:
    """The numbers of a vector; raises ValueError where one is none, which JSON can't say."""
    numbers = struct.unpack(f"<{len(row) // 4}f", row)
    if not math.isfinite(sum(numbers)):
        raise ValueError("the model gave a vector with numbers that are not finite")
    return numbers


def _base64(row: bytes) -> str:
    return base64.b64encode(row).decode("ascii")
