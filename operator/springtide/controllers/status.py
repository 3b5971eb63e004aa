"""The one way in which the status of an object of ours is written."""

from collections.abc import Mapping
from typing import Any

from springtide.clients.cluster import Cluster, Kind
from springtide.controllers.cache import Cache, Entry
from springtide.manifests.ownership import is_current


async def write_status(
    cluster: Cluster, cache: Cache, kind: Kind, entry: Entry[Any], status: Mapping[str, Any]
) -> bool:
    """Write a status if it differs, unless the object changed since; tell whether it was written.

    Raises SpringtideError.
    """
    if is_current({"status": status}, entry.owned):
        return False
    namespace, name = entry.name
    metadata = {"name": name, "namespace": namespace, "uid": entry.uid, "resourceVersion": str(entry.version)}
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "status": status}
    cache.put(kind, await cluster.patch_status(kind, body))
    return True
