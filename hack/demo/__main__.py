"""`python -m hack.demo up`: two real models answer through objects that the operator made in a real cluster.

A third one is scaled by its traffic; `python -m hack.demo scaling` shows how a forecast does that ahead of time.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hack.cluster import lifecycle
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import DEFAULT_NAME, Spec, find
from hack.images import catalog
from hack.shell import Failure, say

from . import install, scaling
from .address import address

NAMESPACE = "demo"
QUESTION = "What is the capital of France?"
TEXTS = ["The tide is high tonight.", "The water stands at its highest.", "He repaired the old bicycle."]


def main() -> int:
    """Run the demo, or take it away; a failed step says which log to read."""
    parser = argparse.ArgumentParser(prog="python -m hack.demo", description="The demo of the README.")
    actions = {"up": up, "scaling": scale, "down": down}
    parser.add_argument("action", choices=actions)
    try:
        actions[parser.parse_args().action]()
    except Failure as failure:
        say(f"error: {failure}")
        return 1
    return 0


def up() -> None:
    """Make the cluster, install the operator, apply both examples, ask both models."""
    started = time.monotonic()
    spec = _cluster()
    with _step(spec, "load the images"):
        install.load(spec)
    with _step(
        spec, "install the operator", f"kubectl logs --namespace {install.SYSTEM} deployment/springtide-operator"
    ):
        install.operator(spec)
    with _step(spec, "make the namespace"):
        install.namespace(spec, NAMESPACE)
        kubectl(spec, "config", "set-context", "--current", f"--namespace={NAMESPACE}")
    for example in "chat", "embed":
        read = f"kubectl describe --namespace {NAMESPACE} modelservice/{example}"
        with _step(spec, f"serve examples/{example}.yaml", read):
            kubectl(spec, "apply", f"--namespace={NAMESPACE}", f"--filename={catalog.ROOT}/examples/{example}.yaml")
    for example in "chat", "embed":
        read = f"kubectl logs --namespace {NAMESPACE} --selector springtide.dev/service={example}"
        with _step(spec, f"wait for {example} to be Ready", read):
            _wait_ready(spec, example)
    print("\nThe objects that were made:\n")
    print(kubectl(spec, "get", "modelservices,deployments,services,pods", f"--namespace={NAMESPACE}", "--output=wide"))
    with _step(spec, "ask the models", f"kubectl logs --namespace {NAMESPACE} --selector springtide.dev/service"):
        _chat(spec)
        _embed(spec)
    read = f"kubectl describe --namespace {NAMESPACE} modelservice/tide"
    with _step(spec, "send more traffic than one replica serves", read):
        seconds = scaling.follow(spec, NAMESPACE)
    print(f"tide:  1 → 2 replicas; the second one was ready {seconds:.0f} s after the traffic began")
    limit = "memory.max" if Path("/sys/fs/cgroup/memory.max").exists() else "memory/memory.limit_in_bytes"
    print(NEXT.format(seconds=time.monotonic() - started, name=spec.name, limit=limit))


def scale() -> None:
    """Show in the demo's cluster how a forecast raises the replicas before the traffic comes."""
    spec = find(DEFAULT_NAME)
    read = f"kubectl logs --namespace {install.SYSTEM} deployment/springtide-forecaster"
    with _step(spec, "foresee traffic and scale ahead of it, which takes five to six minutes", read):
        ahead, report = scaling.foresee(spec, NAMESPACE)
    share, sent = 100 * report["attainment"], report["requests"]["sent"]
    print(f"day:   the target rose {ahead:.0f} s before the traffic did")
    print(f"       {share:.1f} % of {sent} requests were answered within a second")


def down() -> None:
    """Take the demo's cluster away."""
    lifecycle.down(find(DEFAULT_NAME))
    say("the demo is gone; its builds stay in the per-user cache")


NEXT = """
Ready after {seconds:.0f} s. It keeps running; `make demo-down` takes it away. What to try next:

  eval "$(make --silent demo-env)"                            # kubectl, pointed at the cluster
  kubectl get msvc
  kubectl scale msvc/chat --replicas=2               # a pod on each node
  kubectl get pods -o wide --watch
  make demo-scaling                                  # a forecast, and replicas that come before the traffic
  kubectl exec deployment/chat-cpu -- cat /sys/fs/cgroup/{limit}
  make fault ARGS='freeze {name}-node-2 --seconds 60'
"""


@contextmanager
def _step(spec: Spec, what: str, read: str = "") -> Iterator[None]:
    say(f"demo: {what}")
    try:
        yield
    except Failure as failure:
        logs = f'{read} (after eval "$(make --silent demo-env)")' if read else f"the files in {spec.logs}"
        raise Failure(f"could not {what}: {failure}\nread {logs}") from None


def _cluster() -> Spec:
    say("demo: make a cluster with two nodes (the first time builds Kubernetes: some 25 minutes on two cores)")
    return lifecycle.up(Spec(DEFAULT_NAME, nodes=2, prometheus=True))


def _wait_ready(spec: Spec, service: str) -> None:
    wait = ("wait", "--for=condition=Ready", f"modelservice/{service}", f"--namespace={NAMESPACE}")
    try:
        kubectl(spec, *wait, "--timeout=180s", "--request-timeout=200s")
    except Failure:
        # the condition says more than the time-out
        said = kubectl(spec, "get", "modelservice", service, f"--namespace={NAMESPACE}", "--output=json")
        conditions = json.loads(said).get("status", {}).get("conditions", [])
        lines = [f"  {c['type']}={c['status']} {c['reason']}: {c['message']}" for c in conditions]
        raise Failure("it is not Ready after 180 s\n" + "\n".join(lines)) from None


def _ask(spec: Spec, service: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask a model through its Service, whose address this host reaches through a node's kube-proxy."""
    headers = {"Content-Type": "application/json"}
    data = json.dumps({"model": service, **body}).encode()
    request = urllib.request.Request(f"{address(spec, NAMESPACE, service)}{path}", data, headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        raise Failure(f"{service} answered {error.code}: {error.read().decode(errors='replace')}") from None
    except OSError as error:
        raise Failure(f"{service} did not answer: {error}") from None
    return answer


def _chat(spec: Spec) -> None:
    messages = [{"role": "user", "content": QUESTION}]
    answer = _ask(spec, "chat", "/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 40})
    text = answer["choices"][0]["message"]["content"]
    print(f"chat:  {QUESTION}\n       {text}\n")
    if "Paris" not in text:
        raise Failure("the answer does not contain Paris")


def _embed(spec: Spec) -> None:
    vectors = [item["embedding"] for item in _ask(spec, "embed", "/v1/embeddings", {"input": TEXTS})["data"]]
    near, far = (sum(a * b for a, b in zip(vectors[0], other, strict=True)) for other in vectors[1:])
    print(f"embed: {TEXTS[0]!r} is {near:.2f} like {TEXTS[1]!r}, {far:.2f} like {TEXTS[2]!r}")
    if near <= far:
        raise Failure("the embeddings do not tell like from unlike")


if __name__ == "__main__":
    sys.exit(main())
