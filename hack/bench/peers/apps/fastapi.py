"""FastAPI without batches: one request after the other, in a thread of its own so that others are taken meanwhile.

One thread is its best setting: several share the cores, and then all are late. Protection is uvicorn's
`limit_concurrency`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from hack.bench.peers.model import Encoder, answer
from hack.bench.peers.settings import Settings


class Request(BaseModel):
    """What is asked."""

    model: str
    input: str


def main() -> None:
    """Serve until a signal."""
    settings = Settings.read()
    encoder = Encoder(settings)
    thread = ThreadPoolExecutor(1)
    app = FastAPI()

    @app.post("/v1/embeddings")
    async def embeddings(asked: Request) -> JSONResponse:
        [(vector, tokens)] = await asyncio.get_running_loop().run_in_executor(thread, encoder, [asked.input])
        return JSONResponse(answer(vector, tokens))

    # uvicorn refuses with 503 the connection that makes them so many.
    uvicorn.run(app, host="127.0.0.1", port=settings.port, access_log=False, limit_concurrency=settings.queue + 1)


if __name__ == "__main__":
    main()
