"""Where requests may go: to this machine and to the local clusters on it, and nowhere else."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address
from pathlib import Path
from urllib.parse import urlsplit

from hack.cluster.spec import clusters
from hack.load.options import Options
from hack.shell import Failure

_FIB = Path("/proc/net/fib_trie")
_INET6 = Path("/proc/net/if_inet6")


@dataclass(frozen=True)
class Target:
    """A URL and the one address that was found for it: connections go there, whatever the name says later."""

    url: str
    host: str
    authority: str
    address: str
    port: int
    path: str
    secure: bool


def resolve(url: str) -> Target:
    """Return the target of a URL.

    Raises Failure for what is no URL, has no address, or has one that isn't this machine's.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Failure(f"{url}: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Failure(f"{url}: a target starts with http:// or https:// and has a host")
    if parts.username or parts.password or not re.fullmatch(r"[!-~]+", url):
        raise Failure(f"{url}: give user names as a header, and escape what isn't printable ASCII")
    try:
        found = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failure(f"{url}: {parts.hostname} has no address: {error}") from None
    addresses = [str(one[4][0]) for one in sorted(found, key=lambda one: one[0] != socket.AF_INET)]
    for address in addresses:
        if not permitted(address):
            raise Failure(
                f"{url}: {address} isn't this machine's; load goes to loopback, to this host's own addresses, and to "
                "the nodes, pods and Services of local clusters that run here"
            )
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(url, parts.hostname, parts.netloc, addresses[0], port, path, parts.scheme == "https")


def permitted(address: str) -> bool:
    """Whether an address is this machine's or in a network of a local cluster that has a record here."""
    parsed = ip_address(address)
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return False
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback:
        return True
    if isinstance(parsed, IPv6Address):
        return parsed in _own_v6()
    return parsed in _own_v4() or any(parsed in network for network in _clusters())


def trust(options: Options) -> ssl.SSLContext:
    """Return how servers of https targets are checked."""
    if options.ca is not None and not options.ca.is_file():
        raise Failure(f"--ca {options.ca}: there is no such file")
    context = ssl.create_default_context(cafile=str(options.ca) if options.ca else None)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _clusters() -> list[IPv4Network]:
    try:
        found = clusters()
    except PermissionError:  # another user's
        return []
    return [network for spec in found for network in (spec.node_range, spec.pod_range, spec.service_range)]


def _own_v4() -> set[IPv4Address]:
    """The addresses that the kernel's routing table calls its own."""
    table = _FIB.read_text() if _FIB.exists() else ""
    return {IPv4Address(found) for found in re.findall(r"\|-- ([\d.]+)\n\s+/32 host LOCAL", table)}


def _own_v6() -> set[IPv6Address]:
    rows = _INET6.read_text().split("\n") if _INET6.exists() else []
    return {IPv6Address(int(row.split()[0], 16)) for row in rows if row}
