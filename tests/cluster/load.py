"""Clients that ask without pause while something happens, and a record of all that happens to pods meanwhile."""

from __future__ import annotations

import http.client
import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any
from urllib.parse import quote

from hack.cluster.spec import Spec
from hack.cluster.tools import program
from hack.load import Background, Options

from .support import NAMESPACE

PATIENCE = 180  # a request may wait behind a long one, on a busy machine


class Failed(Exception):
    """An answer that is not the one which a client should get."""


@dataclass
class Load:
    """What became of the requests, by kind of client; known when the load has ended."""

    answered: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


CLIENTS: dict[str, dict[str, Any]] = {
    "fresh": {"connections": "fresh", "max_tokens": 2},
    "kept": {"max_tokens": 2},
    # Fresh: a server that begins to leave during a stream can only close the connection at its end, and no client may
    # be sure to see that before it asks again.
    "stream": {"stream": True, "connections": "fresh", "max_tokens": 16},
}


@contextmanager
def load(address: str, model: str) -> Iterator[Load]:
    """Ask on a new connection each time, on one that is kept, and for streams: each when the answer before has come."""
    load = Load()
    with ExitStack() as stack:
        common: dict[str, Any] = {"kind": "chat", "model": model, "seconds": 3600, "timeout_seconds": PATIENCE}
        common |= {"concurrency": 1, "fields": (("temperature", "0"),)}
        running = {
            kind: stack.enter_context(Background(Options((f"http://{address}",), **common, **own)))
            for kind, own in CLIENTS.items()
        }
        yield load
        for kind, one in running.items():
            report = one.finish()
            load.answered[kind] = report["requests"]["ok"]
            load.failures += [f"{kind}: {report['outcomes']} {report['details']}"] * report["requests"]["failed"]


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
