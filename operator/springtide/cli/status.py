"""`springtide status`: the ModelServices of a cluster, and what keeps each from being ready."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from springtide.api.errors import Missing, SpringtideError

_NO_DEFINITION = "this cluster has no ModelServices: Springtide is not installed, or its CRD is gone"


def status(name: str | None, namespace: str | None, *, everywhere: bool) -> int:
    """Print the table; return 1 with one line on standard error when there is nothing to read."""
    try:
        found, where = asyncio.run(_read(namespace, everywhere=everywhere))
    except Missing:
        return _fail(_NO_DEFINITION)
    except SpringtideError as error:
        return _fail(str(error))
    place = f"namespace {where}" if where else "this cluster"
    if name is not None:
        found = [one for one in found if one["metadata"]["name"] == name]
        if not found:
            return _fail(f"there is no ModelService {name} in {place}")
    if found:
        print(table(found, namespaces=everywhere))
    else:
        print(f"There is no ModelService in {place}.")
    return 0


def _fail(message: str) -> int:
    print(f"springtide: {message}", file=sys.stderr)
    return 1


async def _read(namespace: str | None, *, everywhere: bool) -> tuple[list[dict[str, Any]], str | None]:
    # Only here, so that the commands that need no cluster start without the client, which takes most of a second.
    from springtide.clients.cluster import MODEL_SERVICE
    from springtide.clients.kubernetes import KubernetesCluster, current_namespace

    cluster = await KubernetesCluster.connect()
    try:
        where = None if everywhere else namespace or current_namespace()
        return await cluster.list(MODEL_SERVICE, where), where
    finally:
        await cluster.close()


def table(services: Sequence[Mapping[str, Any]], *, namespaces: bool) -> str:
    """Return the services as a table, each followed by the conditions that are not as they should be. Pure."""
    heads = [*(["NAMESPACE"] if namespaces else []), "NAME", "READY", "REPLICAS", "TARGET", "URL"]
    ordered = sorted(services, key=lambda one: (one["metadata"].get("namespace", ""), one["metadata"]["name"]))
    rows = [_row(one, namespaces=namespaces) for one in ordered]
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [_line(heads, widths)]
    for service, row in zip(ordered, rows, strict=True):
        lines += [_line(row, widths), *(f"  {text}" for text in _remarks(service))]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _row(service: Mapping[str, Any], *, namespaces: bool) -> list[str]:
    metadata, state = service["metadata"], service.get("status", {})
    ready = [one["status"] for one in _conditions(service) if one["type"] == "Ready"]
    return [
        *([metadata.get("namespace", "")] if namespaces else []),
        metadata["name"],
        ready[0] if ready else "Unknown",
        # 0 is left out of a status; without any status nothing is known
        str(state.get("replicas", 0)) if state else "-",
        str(state.get("targetReplicas", 0)) if state else "-",
        state.get("url") or "-",
    ]


def _remarks(service: Mapping[str, Any]) -> list[str]:
    if not _conditions(service):
        return ["No status yet: the operator has not seen it, or does not run."]
    texts = [f"{one['reason']}: {one['message']}" for one in _conditions(service) if one["status"] != "True"]
    # Several conditions may be false for one reason.
    return list(dict.fromkeys(" ".join(text.split()) for text in texts))


def _conditions(service: Mapping[str, Any]) -> list[dict[str, str]]:
    return list(service.get("status", {}).get("conditions", ()))
