"""The Cluster over the asyncio side of the official client."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
from kubernetes.aio import client, config

from springtide.api.base import FIELD_MANAGER
from springtide.api.errors import Bug, Conflict, Forbidden, Invalid, Missing, SpringtideError, Unavailable
from springtide.clients.cluster import Kind, Object

# With a parameter, since without one the client would encode the body, in a way that is not YAML (see `encode`).
_APPLY = "application/apply-patch+yaml; charset=utf-8"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_TIMEOUT = aiohttp.ClientTimeout(total=30, sock_connect=5)
# A page of a large LIST is slow by nature.
_LIST_TIMEOUT = aiohttp.ClientTimeout(total=120, sock_connect=5)


Observe = Callable[[str, str, str], None]
"""Hears of each request: its verb, the kind, and the HTTP status, or NO_ANSWER."""

NO_ANSWER = "<error>"  # as client-go's metrics have it


class KubernetesCluster:
    """An API server reached with the pod's ServiceAccount, or with the kubeconfig outside a cluster."""

    def __init__(
        self,
        api: client.ApiClient,
        observe: Observe,
        may_write: Callable[[], bool] = lambda: True,
        manager: str = FIELD_MANAGER,
    ) -> None:
        self._api = api
        self._observe = observe
        self._may_write = may_write
        self._manager = manager

    def guarded(self, may_write: Callable[[], bool]) -> "KubernetesCluster":
        """Return the same API server, to which nothing is written but while `may_write` is true."""
        return KubernetesCluster(self._api, self._observe, may_write, self._manager)

    @classmethod
    async def connect(
        cls, observe: Observe = lambda verb, kind, code: None, manager: str = FIELD_MANAGER
    ) -> "KubernetesCluster":
        """Read the credentials; raises Invalid when there are none. Nothing is sent yet.

        `manager` is the field manager of what is written.
        """
        settings = client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        except (config.ConfigException, OSError) as error:
            raise Invalid(f"no access to a cluster: {error}") from error
        api = client.ApiClient(settings)
        api.user_agent = "springtide-operator" if manager == FIELD_MANAGER else manager
        return cls(api, observe, manager=manager)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the live object, None when there is none."""
        try:
            return await self._call("get", kind, "GET", kind.path(namespace, name))
        except Missing:
            return None

    async def list(
        self, kind: Kind, namespace: str | None, labels: str = "", *, metadata: bool = False
    ) -> list[Object]:
        """Return the live objects, read page by page."""
        items: list[Object] = []
        accept = _METADATA_LIST if metadata else "application/json"
        query = [("limit", str(_PAGE)), *([("labelSelector", labels)] if labels else [])]
        following: list[tuple[str, str]] = []
        while True:
            asked = [*query, *following]
            page = await self._call(
                "list", kind, "GET", kind.path(namespace), asked, accept=accept, deadline=_LIST_TIMEOUT
            )
            items += page["items"] or []  # an empty list of metadata comes as null
            token = page.get("metadata", {}).get("continue")
            if not token:
                return items
            following = [("continue", token)]

    async def apply(self, kind: Kind, desired: Mapping[str, Any], *, uid: str | None) -> Object:
        """Apply on the server; see Cluster."""
        metadata = desired["metadata"]
        body = dict(desired)
        if uid is not None:
            body["metadata"] = metadata | {"uid": uid}
        path = kind.path(metadata["namespace"], metadata["name"])
        return await self._apply("apply", kind, path, body, force=uid is not None)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> None:
        """Delete that very object; nothing happens when it is gone."""
        body = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        try:
            await self._call("delete", kind, "DELETE", kind.path(namespace, name), body=body)
        except Missing:
            return

    async def patch_status(self, kind: Kind, desired: Mapping[str, Any]) -> Object:
        """Apply the status, unless the object changed since `metadata.resourceVersion`; return the result."""
        metadata = desired["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], "status")
        return await self._apply("patch_status", kind, path, desired, force=True)

    async def create(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        """Create an object; Conflict when it is there."""
        path = kind.path(body["metadata"]["namespace"])
        return await self._call("create", kind, "POST", path, [("fieldManager", self._manager)], body=body)

    async def update(self, kind: Kind, body: Mapping[str, Any]) -> Object:
        """Replace an object; Conflict when it changed since its `metadata.resourceVersion`."""
        path = kind.path(body["metadata"]["namespace"], body["metadata"]["name"])
        return await self._call("update", kind, "PUT", path, [("fieldManager", self._manager)], body=body)

    async def _apply(self, verb: str, kind: Kind, path: str, body: Mapping[str, Any], *, force: bool) -> Object:
        query = [("fieldManager", self._manager), ("force", str(force).lower())]
        return await self._call(verb, kind, "PATCH", path, query, body=encode(body), content_type=_APPLY)

    async def _call(
        self,
        verb: str,
        kind: Kind,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        *,
        body: Mapping[str, Any] | bytes | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
        deadline: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> Object:
        headers = {"Accept": accept, "Content-Type": content_type}
        try:
            request = await self._api.param_serialize(
                method, path, query_params=[*query], header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            if method != "GET" and not self._may_write():
                raise Unavailable("this operator does not lead any more")
            response = await self._api.call_api(*request, _request_timeout=deadline)
            data = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(verb, kind.kind, NO_ANSWER)
            raise Unavailable(f"the API server can't be reached: {error or type(error).__name__}") from error
        self._observe(verb, kind.kind, str(response.status))
        if response.status >= 400:
            raise error_of(response.status, data, response.headers.get("Retry-After"))
        return cast(Object, json.loads(data))


def encode(body: Mapping[str, Any]) -> bytes:
    """Return JSON that is YAML too, which is what a server-side apply takes.

    YAML has no pairs of surrogates for what lies beyond 16 bits, and takes nothing unprintable as it is.
    """
    text = json.dumps(body, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def current_namespace() -> str:
    """Return the namespace that kubectl would use: that of the pod, or of the kubeconfig's current context."""
    try:
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            return _POD_NAMESPACE.read_text().strip()
        _, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
        return str(current["context"].get("namespace") or "default")
    except (config.ConfigException, OSError) as error:
        raise Invalid(f"no access to a cluster: {error}") from error


def error_of(status: int, data: bytes, retry_after: str | None = None) -> SpringtideError:
    """Return the typed error for an answer of the API server that is not a success."""
    try:
        message = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        message = f"HTTP {status}: {data[:200].decode(errors='replace')}"
    # A field that the server doesn't know comes as a 500 from server-side apply, yet no retry will help.
    if status == 500 and "failed to create typed patch object" in message:
        return Bug(f"this API server lacks a field that the operator sets: {message}")
    known: dict[int, type[SpringtideError]] = {
        401: Forbidden,
        403: Forbidden,
        404: Missing,
        409: Conflict,
        410: Unavailable,
        422: Invalid,
    }
    if status in known:
        return known[status](message)
    if status == 429 or status >= 500:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
        return Unavailable(message, seconds)
    return Bug(message)
