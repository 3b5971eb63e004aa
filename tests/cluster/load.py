"""Clients that ask without pause while something happens, and a record of all that happens to pods meanwhile."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote

from hack.cluster.spec import Spec
from hack.cluster.tools import program

from .support import NAMESPACE

PATIENCE = 180  # a request may wait behind a long one, on a busy machine
PAUSE = 0.1  # so that a machine of two cores has time to start pods as well


class Failed(Exception):
    """An answer that is not the one which a client should get."""


@dataclass
class Load:
    """What became of the requests, by kind of client."""

    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@contextmanager
def load(address: str, model: str) -> Iterator[Load]:
    """Ask from three clients: on a new connection each time, on one that is kept, and for streams."""
    load, ended = Load(), threading.Event()
    clients = {"fresh": _fresh, "kept": _Kept(), "stream": _stream}
    threads = [
        threading.Thread(target=_ask, args=(load, ended, kind, ask, address, model)) for kind, ask in clients.items()
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _ask(
    load: Load, ended: threading.Event, kind: str, ask: Callable[[str, str], None], address: str, model: str
) -> None:
    while not ended.wait(PAUSE):
        began = time.time()
        try:
            ask(address, model)
            load.answered[kind] += 1
        except (OSError, http.client.HTTPException, Failed) as error:
            load.failures.append(f"{kind}, begun {began:.1f}, ended {time.time():.1f}: {error!r}")


def _fresh(address: str, model: str) -> None:
    _Kept()(address, model, {"Connection": "close"})


class _Kept:
    """A client that keeps its connection for as long as the server does."""

    def __init__(self) -> None:
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, address: str, model: str, headers: dict[str, str] | None = None) -> None:
        self._connection = self._connection or http.client.HTTPConnection(address, timeout=PATIENCE)
        try:
            self._connection.request("POST", "/v1/chat/completions", _body(model, 2), _HEADERS | (headers or {}))
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if response.status != 200 or not json.loads(text)["choices"][0]["message"]["content"]:
            raise Failed(f"{response.status} {text!r}")


def _stream(address: str, model: str) -> None:
    for _ in stream(address, model, 16):
        pass


def stream(address: str, model: str, tokens: int) -> Iterator[str]:
    """Ask for a stream and return its texts one by one; raises Failed when it isn't ended properly."""
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
    try:
        connection.request("POST", "/v1/chat/completions", _body(model, tokens, stream=True), _HEADERS)
        response = connection.getresponse()
        if response.status != 200:
            raise Failed(f"{response.status} {response.read()!r}")
        finish, line = None, b""
        while line := response.readline():
            text = line.decode().strip().removeprefix("data: ")
            if text == "[DONE]":
                break
            if text:
                choice = json.loads(text)["choices"][0]
                finish = choice["finish_reason"] or finish
                yield choice["delta"].get("content") or ""
        if not line or finish not in {"length", "stop"}:
            raise Failed(f"the stream was cut: last line {line!r}, finish_reason {finish}")
    finally:
        connection.close()


_HEADERS = {"Content-Type": "application/json"}


def _body(model: str, tokens: int, **options: Any) -> str:
    messages = [{"role": "user", "content": "Tell me a long story about the sea, with many ships in it."}]
    return json.dumps({"model": model, "messages": messages, "temperature": 0, "max_tokens": tokens, **options})


@contextmanager
def watch(spec: Spec, path: str, **selector: str) -> Iterator[Watch]:
    """Note every state of some objects of the namespace in the order in which they came to be; none is missed."""
    query = "&".join(["watch=1", *(f"{name}={quote(value)}" for name, value in selector.items())])
    raw = f"--raw={path.format(namespace=NAMESPACE)}?{query}"
    words = [str(program("kubectl")), "--kubeconfig", str(spec.kubeconfig), "get", raw]
    with tempfile.TemporaryFile("w+") as output, subprocess.Popen(words, stdout=output) as kubectl:
        try:
            yield Watch(kubectl, output)
        finally:
            kubectl.terminate()


@dataclass
class Watch:
    """A watch that runs."""

    kubectl: subprocess.Popen[bytes]
    output: IO[str]

    def events(self) -> list[Any]:
        """What was seen until now: first what was there, then every change."""
        assert self.kubectl.poll() is None, "the watch has ended: nothing is known of what came after"
        self.output.seek(0)
        found = []
        for line in self.output.read().splitlines():
            with suppress(json.JSONDecodeError):  # the last line may be half written
                found.append(json.loads(line))
        return found


@dataclass
class Moment:
    """How many pods were not going away, and how many of them were ready, after one change of one pod."""

    alive: int
    ready: int


def moments(watch: Watch, replicas: int) -> list[Moment]:
    """What there was of pods since so many were seen."""
    pods: dict[str, Any] = {}
    found: list[Moment] = []
    for event in watch.events():
        pods[event["object"]["metadata"]["name"]] = event["object"]
        if event["type"] == "DELETED":
            del pods[event["object"]["metadata"]["name"]]
        alive = [pod for pod in pods.values() if "deletionTimestamp" not in pod["metadata"]]
        if found or len(alive) >= replicas:
            found.append(Moment(len(alive), sum("Ready" in true_conditions(pod) for pod in alive)))
    return found


def true_conditions(live: Any) -> set[str]:
    """The types of the conditions that are True."""
    conditions = live.get("status", {}).get("conditions", [])
    return {one["type"] for one in conditions if one["status"] == "True"}
