"""etcd, API server, controller manager and scheduler of a cluster, on the host."""

from __future__ import annotations

import json
import socket

from hack.shell import Failure, run

from . import process
from .pki import Authority
from .spec import Spec
from .tools import program

IP_FREEBIND = 15  # linux/in.h; Python has no name for it
GATES = "--feature-gates=GenericWorkload=true"
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            # those of nodes and of the control plane, which are renewed all the time
            "level": "None",
            "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            "namespaces": ["kube-node-lease", "kube-system"],
        },
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/metrics"]},
        {"level": "Metadata"},
    ],
}


def check(spec: Spec) -> None:
    """Refuse to start where a port of the cluster is taken.

    Raises Failure that names the port.
    """
    loopback = [("127.0.0.1", spec.port(offset)) for offset in (79, 80, 57, 59, 47)]
    shared = [(str(spec.host_address), port) for port in (6443, *([spec.port(90)] if spec.prometheus else []))]
    for host, port in [*loopback, *shared]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)  # the cluster's own address does not exist yet
            try:
                probe.bind((host, port))
                probe.listen()
            except OSError:
                raise Failure(
                    f"port {port} is taken; stop what listens there (`ss -ltnp 'sport = :{port}'` names it)"
                ) from None


def certify(spec: Spec, authority: Authority) -> None:
    """Write all keys, certificates and kubeconfigs that the control plane needs."""
    service = [f"kubernetes{suffix}" for suffix in ("", ".default", ".default.svc", ".default.svc.cluster.local")]
    addresses = (str(spec.host_address), str(spec.service_range[1]), "127.0.0.1", "localhost", *service)
    authority.issue("apiserver", "kube-apiserver", addresses=addresses)
    authority.issue("apiserver-kubelet", "kube-apiserver-kubelet-client", ("system:masters",))
    authority.kubeconfig(spec.kubeconfig, "admin", ("system:masters",))
    for component in ("kube-controller-manager", "kube-scheduler"):
        authority.kubeconfig(spec.home / f"{component}.kubeconfig", f"system:{component}")
    authority.kubeconfig(spec.home / "kube-proxy.kubeconfig", "system:kube-proxy")


def up(spec: Spec) -> None:
    """Start the control plane and wait until it is ready."""
    pki = spec.home / "pki"
    etcd = f"http://127.0.0.1:{spec.port(79)}"
    peer = f"http://127.0.0.1:{spec.port(80)}"
    process.start(
        spec,
        "etcd",
        program("etcd"),
        "--name=etcd",
        f"--data-dir={spec.home}/etcd",
        f"--listen-client-urls={etcd}",
        f"--advertise-client-urls={etcd}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=etcd={peer}",
        "--unsafe-no-fsync",  # a test cluster doesn't outlive its machine
        "--log-level=warn",
    )
    policy = spec.home / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT))
    process.start(
        spec,
        "kube-apiserver",
        program("kube-apiserver"),
        f"--etcd-servers={etcd}",
        f"--bind-address={spec.host_address}",
        f"--advertise-address={spec.host_address}",
        "--secure-port=6443",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--service-cluster-ip-range={spec.service_range}",
        "--allow-privileged=true",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={spec.logs}/audit.log",
        "--audit-log-maxsize=100",
        "--audit-log-maxbackup=2",
        "--runtime-config=scheduling.k8s.io/v1beta1=true",
        "--shutdown-send-retry-after=true",
        GATES,
    )
    wait_ready(spec)  # the others give up when their roles don't exist yet
    for component, offset, options in (
        (
            "kube-controller-manager",
            57,
            (
                f"--root-ca-file={pki}/ca.crt",
                f"--service-account-private-key-file={pki}/sa.key",
                f"--cluster-signing-cert-file={pki}/ca.crt",
                f"--cluster-signing-key-file={pki}/ca.key",
                "--use-service-account-credentials=true",
                # the usual 20 requests a second take minutes for a thousand pods
                "--kube-api-qps=500",
                "--kube-api-burst=1000",
                "--concurrent-deployment-syncs=20",
                "--concurrent-replicaset-syncs=20",
            ),
        ),
        ("kube-scheduler", 59, ("--kube-api-qps=500", "--kube-api-burst=1000")),
    ):
        kubeconfig = spec.home / f"{component}.kubeconfig"
        process.start(
            spec,
            component,
            program(component),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={spec.port(offset)}",
            f"--cert-dir={spec.home}/{component}",
            "--leader-elect=false",
            GATES,
            *options,
        )


def wait_ready(spec: Spec, seconds: float = 60) -> None:
    """Wait until the API server says that it is ready.

    Raises Failure with the end of the log of the component that failed.
    """
    watching = [(spec, "etcd"), (spec, "kube-apiserver")]
    process.wait_for(lambda: ready(spec), f"the API server of cluster {spec.name}", seconds, watching)


def ready(spec: Spec) -> bool:
    """Tell whether the API server answers that it is ready."""
    try:
        return kubectl(spec, "get", "--raw", "/readyz").strip() == "ok"
    except Failure:
        return False


def kubectl(spec: Spec, *words: str, stdin: str = "") -> str:
    """Run kubectl as the administrator of the cluster and return what it printed."""
    return run(program("kubectl"), "--kubeconfig", spec.kubeconfig, "--request-timeout=30s", *words, stdin=stdin)
