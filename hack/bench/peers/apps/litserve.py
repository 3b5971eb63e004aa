"""LitServe: the HTTP side and one worker are processes; protection is `timeout`, which drops what waited that long."""

# Annotations stay objects here: LitServe makes FastAPI's models of them.
from typing import Any

import litserve

from hack.bench.peers.model import Encoder, answer
from hack.bench.peers.settings import Settings


class Embed(litserve.LitAPI):
    """One worker with the model."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self._encode = Encoder(Settings.read())

    def decode_request(self, request: dict[str, Any]) -> str:
        """Return the text."""
        return str(request["input"])

    def predict(self, texts: Any) -> Any:
        """Compute a batch; without batches there is one text."""
        return self._encode(texts) if isinstance(texts, list) else self._encode([texts])[0]

    def encode_response(self, output: tuple[list[float], int]) -> dict[str, Any]:
        """Return OpenAI's answer."""
        return answer(*output)


def main() -> None:
    """Serve until a signal."""
    settings = Settings.read()
    wait = settings.wait_milliseconds / 1000
    api = Embed(max_batch_size=settings.rows, batch_timeout=wait, api_path="/v1/embeddings")
    timeout = settings.slo_milliseconds / 1000 if settings.protect else 600
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1, timeout=timeout)
    server.run(host="127.0.0.1", port=settings.port, num_api_servers=1, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
