"""A model server as a child process."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 240  # on a busy machine; reached only by a server that will never be ready


class ServerProcess:
    """Started by `with`, on a free port, with its stderr in a file; killed at the end."""

    def __init__(self, model: Path, name: str, task: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "springtide_server", "--model", str(model), "--served-model-name", name]
        self._command += ["--task", task, "--host", "127.0.0.1", "--port", "0", *arguments]
        self.name = name

    def __enter__(self) -> "ServerProcess":
        self._stderr = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(self._command, stderr=self._stderr)
        self._wait_for(lambda: any(line.get("message") == "listening" for line in self.log()))
        port = next(line["port"] for line in self.log() if line.get("message") == "listening")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        self.process.kill()
        self.process.wait()
        self._stderr.close()

    def stderr(self) -> str:
        return Path(self._stderr.name).read_text()

    def log(self) -> list[dict[str, Any]]:
        """The JSON lines so far; one that is being written counts later."""
        return [json.loads(line) for line in self.stderr().splitlines(True) if line.endswith("\n") and line[0] == "{"]

    def wait_ready(self) -> "ServerProcess":
        self._wait_for(lambda: self.client.get("/readyz").status_code == 200)
        return self

    def _wait_for(self, condition: Any) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            assert self.process.poll() is None, f"the server ended:\n{self.stderr()}"
            assert time.monotonic() < deadline, f"the server did not come up:\n{self.stderr()}"
            time.sleep(0.1)

    def post(self, path: str, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
        return self.client.post(path, json={"model": self.name, **body}, headers=headers)

    def ask(self, question: str, **options: Any) -> httpx.Response:
        """One question, answered greedily unless the options say otherwise."""
        messages = [{"role": "user", "content": question}]
        return self.post("/v1/chat/completions", **{"messages": messages, "temperature": 0, **options})

    def metric(self, name: str) -> float:
        """The sum of the name's series."""
        lines = self.client.get("/metrics").text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def events(lines: list[str]) -> list[dict[str, Any]]:
    """The JSON of server-sent events; checks that the stream was ended properly."""
    data = [line.removeprefix("data: ") for line in lines if line]
    assert data[-1] == "[DONE]"
    return [json.loads(line) for line in data[:-1]]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """OpenAI's error object, with exactly its four members."""
    error: dict[str, Any] = response.json()["error"]
    assert set(response.json()) == {"error"} and set(error) == {"message", "type", "param", "code"}
    return error
