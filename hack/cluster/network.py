"""The network of a cluster: a bridge on the host, a network namespace per node, routes, black holes behind them."""

from __future__ import annotations

import contextlib
import json
from ipaddress import ip_network
from pathlib import Path

from hack.shell import Failure, run, succeeds

from .spec import STATE, Node, Spec, clusters

# everything that any cluster may use, see Spec
ALL_RANGES = ("10.200.0.0/16", "10.208.0.0/12", "10.224.0.0/12")
BLACKHOLE_METRIC = "4294967295"  # the worst there is: every real route is preferred
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
FORWARDING_BEFORE = STATE / "ip_forward.before"


def check(spec: Spec) -> None:
    """Refuse to start where an address range of the cluster is in use already.

    Raises Failure that names the range and the route.
    """
    ranges = (spec.node_range, spec.pod_range, spec.service_range)
    for route in json.loads(run("ip", "-json", "route", "show", "table", "all")):
        if route["dst"] == "default" or ":" in route["dst"] or route.get("table") == "local":
            continue
        if route.get("type") == "blackhole" and route["dst"] in ALL_RANGES:
            continue  # ours, shared by all clusters
        taken = ip_network(route["dst"], strict=False)
        for wanted in ranges:
            if taken.version == 4 and taken.prefixlen >= 8 and wanted.overlaps(taken):
                raise Failure(f"the range {wanted} of cluster {spec.name} is in use on this host: route {route['dst']}")


def up(spec: Spec) -> None:
    """Make the bridge, the nodes' namespaces and all routes.

    Black holes come first: they cover what any cluster may use, so that a packet to an address that is gone, or to a
    cluster that is gone, dies here instead of following the default route. The nodes' only way out leads to this host.
    """
    for wanted in ALL_RANGES:
        run("ip", "route", "replace", "blackhole", wanted, "metric", BLACKHOLE_METRIC)
    # Left alone, a bridge has the lowest address of its ports: when that node is cut off, the others would go on for a
    # while to send what is for the host to an address that is gone.
    run("ip", "link", "add", spec.bridge, "address", f"02:00:0a:c8:{spec.slot:02x}:01", "type", "bridge")
    run("ip", "address", "add", f"{spec.host_address}/{spec.node_range.prefixlen}", "dev", spec.bridge)
    run("ip", "link", "set", spec.bridge, "up")
    for node in spec.node_list:
        _node_up(node)
    if spec.nodes:
        # from the host, Services are reached through the first node's kube-proxy
        run("ip", "route", "add", spec.service_range, "via", spec.node_list[0].address, "dev", spec.bridge)
    _forward()


def _node_up(node: Node) -> None:
    spec = node.spec
    inside = ("ip", "-netns", node.namespace)
    run("ip", "netns", "add", node.namespace)
    run("ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.namespace)
    run("ip", "link", "set", node.link, "master", spec.bridge, "up")
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "address", "add", f"{node.address}/{spec.node_range.prefixlen}", "dev", "eth0")
    run(*inside, "link", "set", "eth0", "up")
    for other in spec.node_list:
        kind = ("blackhole", other.pods) if other == node else (other.pods, "via", other.address)
        run(*inside, "route", "add", *kind)
    # other clusters are regions: their nodes and pods are reached through the host, and nothing else is
    for wanted in ALL_RANGES[:2]:
        run(*inside, "route", "add", wanted, "via", spec.host_address)
    # a process of the node itself needs a route before kube-proxy can rewrite its packet; one not rewritten dies on lo
    run(*inside, "route", "add", spec.service_range, "dev", "lo", "src", node.address)
    run(*inside, "route", "add", "unreachable", "default")
    run("nsenter", f"--net=/run/netns/{node.namespace}", "sh", "-c", f"echo 1 > {FORWARDING}")
    run("ip", "route", "add", node.pods, "via", node.address, "dev", spec.bridge)


def down(spec: Spec) -> None:
    """Take all of it away, also what a killed `up` left half made."""
    for node in spec.node_list:
        if (Path("/run/netns") / node.namespace).exists():
            run("ip", "netns", "delete", node.namespace)
        succeeds("ip", "link", "delete", node.link)
    succeeds("ip", "link", "delete", spec.bridge)
    if [other.name for other in clusters()] != [spec.name]:
        return
    for wanted in ALL_RANGES:
        succeeds("ip", "route", "delete", "blackhole", wanted, "metric", BLACKHOLE_METRIC)
    if FORWARDING_BEFORE.exists():
        FORWARDING.write_text(FORWARDING_BEFORE.read_text())
        FORWARDING_BEFORE.unlink()


def attach(node: Node, attached: bool) -> None:
    """Join a node's link to the bridge, or leave it hanging: then what the node sends reaches nobody, silently."""
    run("ip", "link", "set", node.link, *(("master", node.spec.bridge) if attached else ("nomaster",)))


def separate(one: Spec, other: Spec, separated: bool) -> None:
    """Drop every packet between two clusters, to the other's API server too, or let them through again."""
    table = f"tide_{one.slot}_{other.slot}"
    if not separated:
        with contextlib.suppress(Failure):
            run("nft", "delete", "table", "ip", table)
        return
    sets = [f"{{ {spec.node_range}, {spec.pod_range} }}" for spec in (one, other)]
    drops = "\n".join(f"ip saddr {a} ip daddr {b} drop" for a, b in (sets, sets[::-1]))
    # packets to nodes and pods are forwarded by the host; those to an API server end on it
    chains = [f"chain {hook} {{\ntype filter hook {hook} priority -10;\n{drops}\n}}" for hook in ("forward", "input")]
    run("nft", "--file", "-", stdin="\n".join([f"table ip {table} {{", *chains, "}\n"]))


def _forward() -> None:
    if FORWARDING.read_text().strip() == "0":
        FORWARDING_BEFORE.write_text("0")
        FORWARDING.write_text("1")
