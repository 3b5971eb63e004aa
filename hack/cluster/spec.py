"""What a cluster is: its shape, its addresses and its files. No effects but reading and writing its own record."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from hack.shell import Failure

STATE = Path("/var/lib/springtide/clusters")
SLOTS = 16
MAX_NODES = 9
DEFAULT_NAME = os.environ.get("SPRINGTIDE_CLUSTER", "springtide")


@dataclass(frozen=True)
class Spec:
    """A cluster as asked for, plus its slot: clusters side by side differ by slot in every address and port.

    Nodes live in 10.200.SLOT.0/24, pods in 10.(208+SLOT).0.0/16 (a /24 per real node, the upper half for fake nodes),
    Services in 10.(224+SLOT).0.0/16; the API server and Prometheus listen on the first node address, the rest of the
    control plane on loopback; all ports but the API server's are from 21000 + 100 * SLOT on.
    """

    name: str
    nodes: int = 1
    fake_nodes: int = 0
    fake_gpus: int = 0
    prometheus: bool = False
    slot: int = 0

    def __post_init__(self) -> None:
        """Refuse a shape that can't be made, naming the option."""
        if not re.fullmatch(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?", self.name):
            raise Failure(f"--name {self.name}: use 1 to 20 lower-case letters, digits and '-', starting with a letter")
        if not 0 <= self.nodes <= MAX_NODES:
            raise Failure(f"--nodes {self.nodes}: between 0 (control plane only) and {MAX_NODES}")
        if self.nodes and len(self.name) > 15:
            raise Failure(f"--name {self.name}: 15 characters at most with real nodes, for the paths of their sockets")
        if not 0 <= self.fake_nodes <= 5000:
            raise Failure(f"--fake-nodes {self.fake_nodes}: between 0 and 5000")
        if not 0 <= self.fake_gpus <= 64:
            raise Failure(f"--fake-gpus {self.fake_gpus}: between 0 and 64 per fake node")

    @property
    def node_range(self) -> IPv4Network:
        """The network that joins the host and the nodes."""
        return IPv4Network(f"10.200.{self.slot}.0/24")

    @property
    def pod_range(self) -> IPv4Network:
        """All pod addresses."""
        return IPv4Network(f"10.{208 + self.slot}.0.0/16")

    @property
    def fake_pod_range(self) -> IPv4Network:
        """The part of the pod range that KWOK hands out."""
        return list(self.pod_range.subnets(prefixlen_diff=1))[1]

    @property
    def service_range(self) -> IPv4Network:
        """All Service addresses."""
        return IPv4Network(f"10.{224 + self.slot}.0.0/16")

    @property
    def host_address(self) -> IPv4Address:
        """Where the host, and with it the API server, is seen from the nodes."""
        return self.node_range[1]

    @property
    def dns_address(self) -> IPv4Address:
        """The Service address of cluster DNS."""
        return self.service_range[10]

    @property
    def server(self) -> str:
        """The URL of the API server, from the host, nodes and pods alike."""
        return f"https://{self.host_address}:6443"

    def port(self, offset: int) -> int:
        """Return the port of a component: `offset` is the last two digits of its usual port."""
        return 21000 + 100 * self.slot + offset

    @property
    def bridge(self) -> str:
        """The host's bridge that joins the nodes."""
        return f"tide{self.slot}"

    @property
    def home(self) -> Path:
        """All files of the cluster."""
        return STATE / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.home / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One log file per component."""
        return self.home / "logs"

    @property
    def cgroup(self) -> str:
        """The cgroup under which all nodes of the cluster live."""
        return f"springtide/{self.name}"

    @property
    def node_list(self) -> list[Node]:
        """The real nodes."""
        return [Node(self, number) for number in range(1, self.nodes + 1)]

    def node(self, name: str) -> Node:
        """Return a real node by name.

        Raises Failure when there is none of that name.
        """
        for node in self.node_list:
            if node.name == name:
                return node
        raise Failure(
            f"{name}: cluster {self.name} has the nodes {', '.join(n.name for n in self.node_list) or '(none)'}"
        )

    def save(self) -> None:
        """Write the record, the first thing that a cluster gets and the last that it loses."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "cluster.json").write_text(json.dumps(asdict(self), indent=1))


@dataclass(frozen=True)
class Node:
    """A real node of a cluster: number 1 is `<cluster>-node-1`."""

    spec: Spec
    number: int

    @property
    def name(self) -> str:
        """The node's name in Kubernetes."""
        return f"{self.spec.name}-node-{self.number}"

    @property
    def namespace(self) -> str:
        """The node's network namespace."""
        return f"tide-{self.name}"

    @property
    def link(self) -> str:
        """The host's end of the node's veth pair."""
        return f"tide{self.spec.slot}n{self.number}"

    @property
    def address(self) -> IPv4Address:
        """The node's address."""
        return self.spec.node_range[10 + self.number]

    @property
    def pods(self) -> IPv4Network:
        """The addresses of the node's pods."""
        return list(self.spec.pod_range.subnets(new_prefix=24))[self.number]

    @property
    def cgroup(self) -> str:
        """The node's cgroup: `system` holds its daemons, `kubepods` its pods."""
        return f"{self.spec.cgroup}/{self.name}"

    @property
    def home(self) -> Path:
        """All files of the node."""
        return self.spec.home / "nodes" / self.name

    @property
    def containerd_socket(self) -> Path:
        """Where the node's containerd listens."""
        return self.home / "containerd.sock"


def clusters() -> list[Spec]:
    """Return every cluster that has a record, finished or left over."""
    return [Spec(**json.loads(record.read_text())) for record in sorted(STATE.glob("*/cluster.json"))]


def find(name: str) -> Spec:
    """Return a cluster by name.

    Raises Failure when there is none of that name.
    """
    for spec in clusters():
        if spec.name == name:
            return spec
    known = ", ".join(spec.name for spec in clusters()) or "none"
    raise Failure(f"cluster {name} does not exist (existing: {known}); make it with `up --name {name}`")
