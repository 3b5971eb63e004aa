"""A real node: containerd, kubelet and kube-proxy in the node's network namespace and cgroup."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hack.shell import Failure, run, say

from . import cgroups, process
from .pki import Authority
from .spec import Node
from .tools import folder, program

CNI_PLUGINS = Path("/usr/lib/cni")
PAUSE = "springtide.local/pause:1"


def certify(node: Node, authority: Authority) -> None:
    """Write the node's kubeconfig and the kubelet's serving certificate."""
    node.home.mkdir(parents=True, exist_ok=True)
    authority.kubeconfig(node.home / "kubelet.kubeconfig", f"system:node:{node.name}", ("system:nodes",))
    authority.issue(
        f"kubelet-{node.name}", f"system:node:{node.name}", ("system:nodes",), (str(node.address), node.name)
    )


def up(node: Node, images: list[Path]) -> None:
    """Start the node's daemons and load its first images; the node is Ready some seconds later."""
    cgroups.make(f"{node.cgroup}/system")
    _containerd(node)
    for image in images:
        load_image(node, image)
    _kubelet(node)
    _kube_proxy(node)


def boot(node: Node) -> None:
    """Start the daemons of a node that was killed; its kubelet restarts its pods."""
    process.restart(node.spec, daemon(node, "containerd"))
    _wait_containerd(node)  # a kubelet gives up when it finds none
    process.restart(node.spec, daemon(node, "kubelet"))
    process.restart(node.spec, daemon(node, "kube-proxy"))


def daemon(node: Node, name: str) -> str:
    """Return the name under which a node's daemon is recorded."""
    return f"{name}@{node.name}"


def load_image(node: Node, archive: Path) -> None:
    """Import an OCI archive into the node's containerd.

    Raises Failure that names the archive when it can't be imported.
    """
    say(f"  {node.name}: loading {archive.name}")
    try:
        _ctr(node, "images", "import", archive)
    except Failure as error:
        raise Failure(f"{archive}: can't be loaded; is it an OCI archive?\n{error}") from None


def tag_image(node: Node, image: str, other: str) -> None:
    """Give an image that a node has another name, too."""
    _ctr(node, "images", "tag", "--force", image, other)


def _ctr(node: Node, *words: str | Path) -> str:
    return run(program("ctr"), "--address", node.containerd_socket, "--namespace", "k8s.io", *words)


def _containerd(node: Node) -> None:
    tools = folder("containerd")
    cni = node.home / "cni"
    cni.mkdir(exist_ok=True)
    # ptp, not bridge: packets between pods are routed, so no reply bypasses the translation of a Service address
    plugins = [
        {
            "type": "ptp",
            "ipMasq": False,
            "ipam": {
                "type": "host-local",
                "dataDir": f"{node.home}/ipam",
                "ranges": [[{"subnet": str(node.pods)}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    (cni / "10-tide.conflist").write_text(
        json.dumps({"cniVersion": "1.0.0", "name": node.namespace, "plugins": plugins})
    )
    config = node.home / "containerd.toml"
    config.write_text(f"""\
version = 3
root = "{node.home}/containerd"
state = "{node.home}/containerd-state"
[grpc]
  address = "{node.containerd_socket}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
  # without the right to lower a process's OOM score (CAP_SYS_RESOURCE) runc fails to start anything
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ["{CNI_PLUGINS}"]
  conf_dir = "{cni}"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  Root = "{node.home}/runc"
  SystemdCgroup = false
[plugins.'io.containerd.nri.v1.nri']
  # its socket is one of the whole host: of two containerds that start at once, one gives up
  disable = true
""")
    name = daemon(node, "containerd")
    path = f"{tools}:/usr/sbin:/usr/bin:/sbin:/bin"
    process.start(node.spec, name, "env", f"PATH={path}", tools / "containerd", "--config", config, node=node)
    _wait_containerd(node)


def _wait_containerd(node: Node) -> None:
    watching = [(node.spec, daemon(node, "containerd"))]
    process.wait_for(lambda: _answers(node), f"containerd of {node.name}", 30, watching)


def _answers(node: Node) -> bool:
    try:
        _ctr(node, "version")
    except Failure:
        return False
    return True


def _kubelet(node: Node) -> None:
    pki = node.spec.home / "pki"
    empty = node.home / "resolv.conf"
    empty.write_text("")
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{pki}/kubelet-{node.name}.crt",
        "tlsPrivateKeyFile": f"{pki}/kubelet-{node.name}.key",
        "address": str(node.address),
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "podLogsDir": f"{node.home}/pod-logs",
        "resolvConf": str(empty),
        "clusterDNS": [str(node.spec.dns_address)],
        "clusterDomain": "cluster.local",
        "serializeImagePulls": False,
        # images can't be pulled again, so none is ever collected; nodes share one disk, so only a full one evicts
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
        # a changed ConfigMap comes into its pods with their next sync
        "syncFrequency": "15s",
        "shutdownGracePeriod": "0s",
    }
    file = node.home / "kubelet.json"
    file.write_text(json.dumps(config, indent=1))
    labels = f"topology.kubernetes.io/region={node.spec.name},topology.kubernetes.io/zone={node.name}"
    process.start(
        node.spec,
        daemon(node, "kubelet"),
        program("kubelet"),
        f"--config={file}",
        f"--kubeconfig={node.home}/kubelet.kubeconfig",
        f"--root-dir={node.home}/kubelet",
        f"--cert-dir={node.home}/kubelet-pki",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        f"--node-labels={labels}",
        node=node,
    )


def _kube_proxy(node: Node) -> None:
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{node.spec.home}/kube-proxy.kubeconfig"},
        "mode": "nftables",
        "clusterCIDR": str(node.spec.pod_range),
        "hostnameOverride": node.name,
        "bindAddress": str(node.address),
        "oomScoreAdj": 0,
        # these need the right to set sysctls
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    file = node.home / "kube-proxy.json"
    file.write_text(json.dumps(config, indent=1))
    process.start(node.spec, daemon(node, "kube-proxy"), program("kube-proxy"), f"--config={file}", node=node)


def down(node: Node) -> None:
    """Kill everything that runs on the node and remove what it left outside its own folder."""
    cgroups.kill(node.cgroup)
    for bootstrap in node.home.glob("containerd-state/io.containerd.runtime.v2.task/*/*/bootstrap.json"):
        address = json.loads(bootstrap.read_text()).get("address", "")
        Path(address.removeprefix("unix://")).unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(str(node.home)):
            link.unlink()
    for results in Path("/var/lib/cni/results").glob(f"{node.namespace}-*"):
        results.unlink()


def unmount(home: Path) -> None:
    """Unmount everything below a folder, deepest first, and remove the folder."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{home}/")), key=len, reverse=True):
        run("umount", "--lazy", mount.replace("\\040", " "))
    shutil.rmtree(home, ignore_errors=False)
