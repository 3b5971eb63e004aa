"""Many ModelServices, watched and changed: when each change was sent, and when it was seen to have its effect."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from hack.cluster.spec import Spec
from hack.shell import Failure
from springtide.manifests.names import SERVICE_LABEL, TIER_LABEL

NAMESPACE = "fleet"
_SERVICES = f"/apis/springtide.dev/v1alpha1/namespaces/{NAMESPACE}/modelservices"
_DEPLOYMENTS = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"
_MODEL = {"uri": "oci://models.springtide.dev/chat:v1"}


@dataclass(frozen=True)
class Kind:
    """A kind of change: its two values, the spec for each, and where a Deployment carries the value."""

    values: tuple[Any, Any]
    spec: Callable[[Any], dict[str, Any]]
    carried: Callable[[dict[str, Any]], Any]


CHANGES = {
    # labels of the children, and no new pod
    "tier": Kind(
        ("Realtime", "Fallback"),
        lambda tier: {"pools": [{"name": "cpu", "tier": tier}]},
        lambda live: live["metadata"]["labels"].get(TIER_LABEL),
    ),
    # a pod more or less
    "replicas": Kind((1, 2), lambda number: {"replicas": number}, lambda live: live["spec"]["replicas"]),
}


@dataclass
class Service:
    """A ModelService as last seen, and the change of it that is under way."""

    value: Any
    generation: int = 1
    observed: int = 0
    conditions: dict[str, str] = field(default_factory=dict)
    carried: Any = None
    sent: float | None = None
    applied: float | None = None
    reported: float | None = None

    @property
    def accepted(self) -> bool:
        """Whether all its children are in place, as the operator says."""
        return self.observed == self.generation and self.conditions.get("Accepted") == "True"

    @property
    def ready(self) -> bool:
        """Whether it is up to date and all its replicas are ready."""
        return self.observed == self.generation and self.conditions.get("Ready") == "True"

    @property
    def busy(self) -> bool:
        """Whether a change waits for its effect or its report."""
        return self.sent is not None and (self.applied is None or self.reported is None)


class Fleet:
    """The services of the namespace `fleet`, and an administrator's connection to the API server."""

    def __init__(self, session: aiohttp.ClientSession, kind: Kind) -> None:
        self._session = session
        self._kind = kind
        self.services: dict[str, Service] = {}
        self.applied_seconds: list[float] = []
        self.reported_seconds: list[float] = []
        self.write_seconds: list[float] = []
        self.changed_seconds = 0.0

    async def create(self, number: int) -> None:
        """Create the services, 16 at a time."""
        room = asyncio.Semaphore(16)
        names = [f"service-{one}" for one in range(number)]
        self.services = {name: Service(self._kind.values[0]) for name in names}

        async def one(name: str) -> None:
            spec = {"model": _MODEL, "pools": [{"name": "cpu"}]} | self._kind.spec(self._kind.values[0])
            identity = {"apiVersion": "springtide.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": name}}
            async with room:
                await self._call("POST", _SERVICES, identity | {"spec": spec})

        await asyncio.gather(*(one(name) for name in names))

    async def change(self, per_second: float, seconds: float, check: Callable[[], None]) -> None:
        """Change service after service at a steady rate, only such as no change is under way of."""
        started = time.monotonic()
        names = list(self.services)
        sent: list[asyncio.Task[None]] = []
        try:
            for number in range(round(per_second * seconds)):
                await asyncio.sleep(max(0.0, started + number / per_second - time.monotonic()))
                # where every service waits for its last change, the rate can't be kept
                while (free := next((name for name in names if not self.services[name].busy), None)) is None:
                    if time.monotonic() > started + 4 * seconds + 60:
                        raise Failure("every service waits for its last change, for too long")
                    await asyncio.sleep(0.02)
                check()
                names.remove(free)
                names.append(free)
                sent.append(asyncio.create_task(self._change(free)))
            self.changed_seconds = time.monotonic() - started
        finally:
            failed = [error for error in await asyncio.gather(*sent, return_exceptions=True) if error]
        if failed:
            raise failed[0]

    async def _change(self, name: str) -> None:
        service = self.services[name]
        first, second = self._kind.values
        service.value = second if service.value == first else first
        service.generation += 1
        service.applied = service.reported = None
        service.sent = time.monotonic()
        live = await self._call("PATCH", f"{_SERVICES}/{name}", {"spec": self._kind.spec(service.value)})
        self.write_seconds.append(time.monotonic() - service.sent)
        if live["metadata"]["generation"] != service.generation:
            raise Failure(f"{name} has generation {live['metadata']['generation']}, not {service.generation}")

    async def watch_services(self) -> None:
        """Take note of each ModelService, for ever."""
        async for live, now in self._watch(_SERVICES):
            service, status = self.services[live["metadata"]["name"]], live.get("status", {})
            service.observed = status.get("observedGeneration", 0)
            service.conditions = {one["type"]: one["status"] for one in status.get("conditions", ())}
            if service.sent is not None and service.reported is None and service.observed >= service.generation:
                service.reported = now
                self.reported_seconds.append(now - service.sent)

    async def watch_deployments(self) -> None:
        """Take note of the Deployment of each service, for ever."""
        async for live, now in self._watch(_DEPLOYMENTS):
            service = self.services[live["metadata"]["labels"][SERVICE_LABEL]]
            service.carried = self._kind.carried(live)
            if service.sent is not None and service.applied is None and service.carried == service.value:
                service.applied = now
                self.applied_seconds.append(now - service.sent)

    async def _watch(self, path: str) -> AsyncIterator[tuple[dict[str, Any], float]]:
        """Give each object and when it came: those that are there, then each that is new or changed."""
        listed = await self._call("GET", path)
        for live in listed["items"]:
            yield live, time.monotonic()
        query = {"watch": "true", "resourceVersion": listed["metadata"]["resourceVersion"], "timeoutSeconds": "3600"}
        async with self._session.get(path, params=query, timeout=aiohttp.ClientTimeout()) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                now = time.monotonic()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        yield event["object"], now
        raise Failure(f"the watch of {path} ended")

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = json.dumps(body) if body is not None else None
        async with self._session.request(method, path, data=data, headers={"Content-Type": content}) as response:
            answer = await response.text()
            if response.status >= 400:
                raise Failure(f"{method} {path}: {answer}")
            return json.loads(answer)


@asynccontextmanager
async def connected(spec: Spec, kind: Kind) -> AsyncIterator[Fleet]:
    """Connect to the API server as its administrator."""
    trust = ssl.create_default_context(cafile=str(spec.home / "pki" / "ca.crt"))
    client = spec.home / "pki" / "client-kubeconfig"
    trust.load_cert_chain(f"{client}.crt", f"{client}.key")
    limits = aiohttp.ClientTimeout(total=60)
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(spec.server, connector=connector, timeout=limits) as session:
        yield Fleet(session, kind)
