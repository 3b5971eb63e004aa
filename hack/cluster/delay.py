"""A slow link: frames between a node and the bridge pass through this process, which holds each back for a while.

It stands in for the kernel's netem, which many small machines lack. The node's link leaves the bridge; a second veth
pair takes its place there; two packet sockets carry the frames across. PACKET_VNET_HDR keeps checksum and segmentation
offload intact.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import threading
import time
from collections.abc import Iterator

from hack.shell import run, succeeds

from . import network
from .spec import Node

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
ETH_P_ALL = 3
LARGEST = 1 << 17


@contextlib.contextmanager
def slowed(node: Node, seconds: float) -> Iterator[None]:
    """Hold every frame to and from a node back by `seconds`, each way."""
    ours, bridged = _names(node)
    run("ip", "link", "add", ours, "type", "veth", "peer", "name", bridged)
    run("ip", "link", "set", ours, "up")
    run("ip", "link", "set", bridged, "master", node.spec.bridge, "up")
    network.attach(node, False)
    stop = threading.Event()
    relay = threading.Thread(target=_relay, args=(node.link, ours, seconds, stop), daemon=True)
    relay.start()
    try:
        yield
    finally:
        stop.set()
        relay.join()
        remove(node)
        network.attach(node, True)


def remove(node: Node) -> None:
    """Remove the second pair, if it is there."""
    succeeds("ip", "link", "delete", _names(node)[0])


def _names(node: Node) -> tuple[str, str]:
    return f"{node.link}d", f"{node.link}e"


def _relay(one: str, other: str, seconds: float, stop: threading.Event) -> None:
    with _packets(one) as a, _packets(other) as b, selectors.DefaultSelector() as ready:
        ready.register(a, selectors.EVENT_READ, b)
        ready.register(b, selectors.EVENT_READ, a)
        waiting: list[tuple[float, int, socket.socket, bytes]] = []
        count = 0
        while not stop.is_set():
            pause = min(0.2, max(0.0, waiting[0][0] - time.monotonic())) if waiting else 0.2
            for key, _ in ready.select(pause):
                source: socket.socket = key.fileobj  # type: ignore[assignment]
                with contextlib.suppress(BlockingIOError, OSError):
                    while frame := source.recv(LARGEST):
                        count += 1
                        heapq.heappush(waiting, (time.monotonic() + seconds, count, key.data, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, target, frame = heapq.heappop(waiting)
                with contextlib.suppress(OSError):  # a full queue drops, as a link does
                    target.send(frame)


def _packets(interface: str) -> socket.socket:
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    packets.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    packets.bind((interface, ETH_P_ALL))
    packets.setblocking(False)
    return packets
