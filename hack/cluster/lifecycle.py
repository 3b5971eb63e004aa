"""Makes a cluster and takes it away."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from hack.images import catalog
from hack.packages import need
from hack.shell import Failure, cache_dir, locked, say

from . import addons, cgroups, control_plane, fault, network, node, process, prometheus, tools
from .control_plane import kubectl
from .pki import Authority
from .spec import MAX_NODES, SLOTS, STATE, Spec, clusters

PACKAGES = ("iproute2", "nftables")
NODE_PACKAGES = ("runc", "containernetworking-plugins", "iptables", "conntrack", "util-linux")
FREE_BYTES = 4 << 30


def up(wanted: Spec) -> Spec:
    """Make a cluster and wait until all of it is Ready; a cluster of that name and shape that runs is left as it is.

    What a killed run left of it is cleaned up first. Raises Failure with the log to read; only logs stay.
    """
    _check_machine(wanted)
    with locked(_lock(wanted.name)):
        return _up(wanted)


def _up(wanted: Spec) -> Spec:
    with locked(STATE / "lock"):
        existing = {spec.name: spec for spec in clusters()}
        if (old := existing.get(wanted.name)) is not None:
            if _complete(old):
                if dataclasses.replace(wanted, slot=old.slot) == old:
                    say(f"cluster {old.name} is up already")
                    return old
                raise Failure(
                    f"cluster {old.name} exists with another shape; take it away with `down --name {old.name}`"
                )
            say(f"cleaning up what a run that was cut off left of cluster {old.name}")
            _remove(old)
            existing.pop(old.name)
        spec = _placed(wanted, {spec.slot for spec in existing.values()})
        spec.save()
    try:
        _start(spec)
    except BaseException:
        kept = STATE.parent / "failed" / spec.name
        shutil.rmtree(kept, ignore_errors=True)
        if spec.logs.exists():
            shutil.copytree(spec.logs, kept)
        with locked(STATE / "lock"):
            _remove(spec)
        say(f"the logs of the failed start are kept in {kept}")
        raise
    return spec


def down(spec: Spec) -> None:
    """Take a cluster away with everything that it made on this machine."""
    _check_root()
    with locked(_lock(spec.name)), locked(STATE / "lock"):
        _remove(spec)


def _lock(name: str) -> Path:
    # held for as long as a cluster is made, so that two runs never make the same one
    return cache_dir("locks") / f"cluster-{name}"


def _placed(wanted: Spec, taken: set[int]) -> Spec:
    """Return the spec in the first slot whose addresses and ports are free on this host."""
    problem = Failure(f"{SLOTS} clusters exist; take one away first (`status` lists them)")
    for slot in range(SLOTS):
        if slot not in taken:
            spec = dataclasses.replace(wanted, slot=slot)
            try:
                network.check(spec)
                control_plane.check(spec)
            except Failure as failure:
                problem = failure
            else:
                return spec
    raise problem


def _start(spec: Spec) -> None:
    programs = ("etcd", "kube-apiserver", "kubectl", *(("containerd", "kubelet") if spec.nodes else ()))
    optional = (*(("kwok",) if spec.fake_nodes else ()), *(("helm",) if spec.prometheus else ()))
    for program in (*programs, *optional):
        tools.program(program)
    images = [catalog.pause().archive, catalog.coredns().archive] if spec.nodes else []
    say(f"starting cluster {spec.name}")
    authority = Authority(spec)
    control_plane.certify(spec, authority)
    for each in spec.node_list:
        node.certify(each, authority)
    network.up(spec)
    with ThreadPoolExecutor(MAX_NODES + 1) as pool:
        work = [pool.submit(control_plane.up, spec), *(pool.submit(node.up, each, images) for each in spec.node_list)]
        for done in work:
            done.result()
    if spec.nodes:
        addons.dns(spec)
    if spec.fake_nodes:
        addons.fake_nodes(spec)
    if spec.prometheus:
        prometheus.up(spec)
    _wait_ready(spec)
    (spec.home / "complete").touch()


def _wait_ready(spec: Spec) -> None:
    daemons = [(spec, name) for name in process.names(spec)]
    wanted = spec.nodes + spec.fake_nodes
    process.wait_for(lambda: len(ready_nodes(spec)) == wanted, f"{wanted} nodes to be Ready", 120, daemons)
    if spec.nodes:
        process.wait_for(lambda: _dns_ready(spec), "cluster DNS", 60, daemons)
    process.wait_for(
        lambda: "default" in kubectl(spec, "get", "serviceaccounts", "-o=name"), "service accounts", 30, daemons
    )


def ready_nodes(spec: Spec) -> list[str]:
    """Return the names of the nodes that are Ready."""
    nodes: list[dict[str, Any]] = json.loads(kubectl(spec, "get", "nodes", "-o=json"))["items"]
    ready = {"type": "Ready", "status": "True"}
    return [
        item["metadata"]["name"]
        for item in nodes
        if any(ready.items() <= condition.items() for condition in item["status"].get("conditions", []))
    ]


def _dns_ready(spec: Spec) -> bool:
    path = "jsonpath={.status.readyReplicas}"
    return kubectl(spec, "get", "deployment", "coredns", "--namespace=kube-system", f"-o={path}") == "1"


def _complete(spec: Spec) -> bool:
    """Tell whether a cluster was started to the end and still runs."""
    running = all(process.pid(spec, name) is not None for name in process.names(spec))
    return (spec.home / "complete").exists() and (running or bool(fault.active(spec)))


def _remove(spec: Spec) -> None:
    fault.forget(spec)
    for each in spec.node_list:
        node.down(each)
    host = [name for name in process.names(spec) if "@" not in name]
    process.stop(spec, *(name for name in host if name != "etcd"), patience=2)
    process.stop(spec, *host, patience=2)
    if spec.nodes:
        cgroups.remove(spec.cgroup)
    network.down(spec)
    node.unmount(spec.home)


def _check_machine(spec: Spec) -> None:
    _check_root()
    need(*PACKAGES, *(NODE_PACKAGES if spec.nodes else ()), *(prometheus.PACKAGES if spec.prometheus else ()))
    STATE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(STATE).free
    if free < FREE_BYTES:
        raise Failure(
            f"{STATE}: {free / 2**30:.1f} GiB free, {FREE_BYTES / 2**30:.0f} GiB needed; make room on this disk"
        )


def _check_root() -> None:
    if os.geteuid() != 0:
        raise Failure("a cluster needs root: network namespaces and cgroups are made for it; run this as root")
