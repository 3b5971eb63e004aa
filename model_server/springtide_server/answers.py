"""Answering requests for embeddings in OpenAI's shape."""

import asyncio
import base64
import struct

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

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
    return JSONResponse({"object": "list", "data": data, "model": asked.model, "usage": usage})


def _floats(row: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(row) // 4}f", row))


def _base64(row: bytes) -> str:
    return base64.b64encode(row).decode("ascii")
