"""The programs that clusters and tests are made of, built from pinned Go modules (hack/tools/<component>/go.mod).

Each component is built when first needed, once, into the per-user cache: a folder keyed by its go.mod, go.sum and
stamps.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from hack.shell import Failure, cache_dir, locked, run, say, tail

MODULES = Path(__file__).resolve().parent.parent / "tools"


@dataclass(frozen=True)
class Component:
    """One Go module and what we build of it.

    `programs` maps a program's name to its package; `stamps` are the variables that hold its version, set at link time
    (`{version}`, `{major}` and `{minor}` are replaced); `files` are folders of the module to keep beside the programs.
    """

    name: str
    module: str
    programs: dict[str, str]
    stamps: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()


COMPONENTS = {
    component.name: component
    for component in (
        Component("etcd", "go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
        Component(
            "kubernetes",
            "k8s.io/kubernetes",
            {
                name: f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kubelet",
                    "kube-proxy",
                    "kubectl",
                )
            },
            {
                f"{package}.{variable}": value
                for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
                for variable, value in {
                    "gitVersion": "v{version}",
                    "gitMajor": "{major}",
                    "gitMinor": "{minor}",
                    "gitTreeState": "clean",
                }.items()
            },
        ),
        Component(
            "containerd",
            "github.com/containerd/containerd/v2",
            {
                name: f"github.com/containerd/containerd/v2/cmd/{name}"
                for name in ("containerd", "containerd-shim-runc-v2", "ctr")
            },
            {"github.com/containerd/containerd/v2/version.Version": "v{version}"},
        ),
        Component(
            "kwok",
            "sigs.k8s.io/kwok",
            {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
            {"sigs.k8s.io/kwok/pkg/consts.Version": "v{version}"},
            ("kustomize/stage",),
        ),
        Component("coredns", "github.com/coredns/coredns", {"coredns": "github.com/coredns/coredns"}),
        Component(
            "helm",
            "helm.sh/helm/v4",
            {"helm": "helm.sh/helm/v4/cmd/helm"},
            {"helm.sh/helm/v4/internal/version.version": "v{version}"},
        ),
        # programs of our own: "." is the package beside the go.mod
        Component("pause", "", {"pause": "."}),
        Component("kstatus", "github.com/fluxcd/cli-utils", {"kstatus": "."}),
        Component("lua", "github.com/yuin/gopher-lua", {"lua": "."}),
        Component("promlint", "github.com/prometheus/prometheus", {"promlint": "."}),
        Component(
            "versitygw",  # an S3 store, for the tests of what fetches models
            "github.com/versity/versitygw",
            {"versitygw": "github.com/versity/versitygw/cmd/versitygw"},
            {"main.Version": "v{version}"},
        ),
    )
}


def program(name: str) -> Path:
    """Return the path of a program, building its component first if the cache doesn't hold it."""
    for component in COMPONENTS.values():
        if name in component.programs:
            return folder(component.name) / name
    raise Failure(f"{name}: no such program; hack/cluster/tools.py lists them")


def folder(name: str) -> Path:
    """Return the cache folder of a component, complete and up to date with its go.sum."""
    component = COMPONENTS[name]
    source = MODULES / name
    digest = hashlib.sha256(repr(component).encode())
    for file in sorted(source.glob("*")):
        digest.update(file.read_bytes())
    done = cache_dir("tools") / f"{name}-{digest.hexdigest()[:12]}"
    if done.exists():
        return done
    with locked(cache_dir("locks") / f"tools-{name}"):
        if not done.exists():
            _build(component, source, done)
    return done


def version(name: str) -> str:
    """Return the version of a component as its go.mod pins it, without the leading v."""
    module = re.escape(COMPONENTS[name].module)
    found = re.search(rf"^\s*(?:require )?{module} v(\S+)", (MODULES / name / "go.mod").read_text(), re.MULTILINE)
    return found.group(1) if found else "0"


def _build(component: Component, source: Path, done: Path) -> None:
    if not shutil.which("go"):
        raise Failure("go: not found; install Go 1.26 or newer and put it on the PATH")
    pinned = version(component.name)
    major, minor = [*pinned.split("."), "0"][:2]
    stamps = " ".join(
        f"-X {variable}={value.format(version=pinned, major=major, minor=minor)}"
        for variable, value in component.stamps.items()
    )
    for killed in done.parent.glob(f"{component.name}-*.unfinished"):
        shutil.rmtree(killed)
    building = done.with_name(f"{done.name}.unfinished")
    building.mkdir()
    try:
        for name, package in component.programs.items():
            _go_build(source, package, building / name, f"-s -w {stamps}", f"{name} {pinned}")
        for part in component.files:
            origin = Path(run("go", "list", "-m", "-f", "{{.Dir}}", component.module, cwd=source).strip())
            shutil.copytree(origin / part, building / Path(part).name, copy_function=shutil.copyfile)
        building.rename(done)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _go_build(source: Path, package: str, output: Path, ldflags: str, title: str) -> None:
    """Run `go build`, saying every 20 s how many packages it has compiled (the API server takes minutes)."""
    say(f"building {title} (once; kept in {output.parent.parent})")
    started = time.monotonic()
    compiled: list[str] = []
    with subprocess.Popen(
        ["go", "build", "-v", "-trimpath", "-ldflags", ldflags, "-o", str(output), package],
        cwd=source,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"},
        stderr=subprocess.PIPE,
        text=True,
    ) as build:
        assert build.stderr is not None  # noqa: S101 - asked for above
        reader = threading.Thread(target=lambda lines: compiled.extend(lines), args=(build.stderr,), daemon=True)
        reader.start()
        while True:
            try:
                build.wait(20)
                break
            except subprocess.TimeoutExpired:
                say(f"  {title}: {len(compiled)} packages, {time.monotonic() - started:.0f} s")
        reader.join()
    if build.returncode != 0:
        raise Failure(
            f"building {title} failed; if the disk is full, `go clean -cache` helps:\n{tail(''.join(compiled))}"
        )
    say(f"  {title}: done in {time.monotonic() - started:.0f} s")
