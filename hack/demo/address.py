"""Where a service of the demo's cluster answers this host."""

import socket

from hack.cluster import process
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec


def address(spec: Spec, namespace: str, name: str) -> str:
    """Return the URL of a Ready service once its Service takes connections.

    A pod that just got ready is known to every node's rules a moment later. Raises Failure after 30 s.
    """
    ip = kubectl(spec, "get", "service", name, f"--namespace={namespace}", "-o=jsonpath={.spec.clusterIP}")
    process.wait_for(lambda: _accepts(ip), f"the Service {name} to take connections", 30)
    return f"http://{ip}"


def _accepts(ip: str) -> bool:
    try:
        socket.create_connection((ip, 80), timeout=2).close()
    except OSError:
        return False
    return True
