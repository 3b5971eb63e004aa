"""BentoML: adaptive batches; no wait can be set. Protection is `max_latency_ms`, the target by which it decides.

A batchable endpoint takes a list and answers a list; the middleware makes OpenAI's object of it.
"""

from __future__ import annotations

from typing import Annotated, Any

import bentoml
from pydantic import BeforeValidator

from hack.bench.peers.model import Encoder, embedding
from hack.bench.peers.settings import QUEUE, Settings

SETTINGS = Settings.read()
HEAD, TAIL = b'{"object":"list","data":', b',"model":"minilm","usage":{"prompt_tokens":0,"total_tokens":0}}'


class Envelope:
    """ASGI: puts answers of the endpoint into OpenAI's object."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass everything on, and the endpoint's good answers with the rest around them."""
        good = False
        head = HEAD

        async def wrap(message: Any) -> None:
            nonlocal good, head
            if message["type"] == "http.response.start":
                good = message["status"] == 200
                if good:
                    message["headers"] = [_longer(*one) for one in message["headers"]]
            elif good:
                tail = b"" if message.get("more_body") else TAIL
                message["body"], head = head + message.get("body", b"") + tail, b""
            await send(message)

        await self._app(scope, receive, wrap if scope.get("path") == "/v1/embeddings" else send)


def _longer(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return name, b"%d" % (int(value) + len(HEAD) + len(TAIL)) if name == b"content-length" else value


def _listed(text: object) -> object:
    return [text] if isinstance(text, str) else text


class Embed:
    """The model."""

    def __init__(self) -> None:
        self._encode = Encoder(SETTINGS)

    @bentoml.api(
        route="/v1/embeddings",
        batchable=SETTINGS.rows > 1,  # a size of 1 ends in an error of its own
        max_batch_size=SETTINGS.rows,
        max_latency_ms=SETTINGS.slo_milliseconds if SETTINGS.protect else 60_000,
    )
    def embed(self, input: Annotated[list[str], BeforeValidator(_listed)]) -> list[dict[str, Any]]:
        """Compute a batch."""
        return [embedding(vector) for vector, _ in self._encode(input)]


service: Any = bentoml.service(
    workers=1, traffic={"timeout": 600, "max_concurrency": QUEUE}, logging={"access": {"enabled": False}}
)(Embed)
service.add_asgi_middleware(Envelope)


def main() -> None:
    """Serve until a signal."""
    bentoml.serve("hack.bench.peers.apps.bentoml:service", host="127.0.0.1", port=SETTINGS.port, blocking=True)


if __name__ == "__main__":
    main()
