"""The images that local clusters use: what each is made of. Each is built when it is asked for."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from hack import models
from hack.cluster import tools
from hack.cluster.addons import COREDNS
from hack.cluster.node import PAUSE
from hack.packages import need
from hack.shell import cache_dir, locked, run, say, uv

from . import buildah

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
BASE = "springtide.local/base:1"
PYTHON = "springtide.local/python:1"
OPERATOR = "springtide.local/operator"
MODEL_SERVER = "springtide.local/model-server"
RELEASE = "bookworm"
PYTHON_VERSION = "3.11"  # of that release


def pause() -> buildah.Image:
    """Return the image that holds a pod's namespaces."""
    return buildah.build(PAUSE, HERE / "program.Dockerfile", {"program": tools.program("pause")})


def coredns() -> buildah.Image:
    """Return the image of cluster DNS."""
    return buildah.build(COREDNS, HERE / "program.Dockerfile", {"program": tools.program("coredns")})


def python() -> buildah.Image:
    """Return the image of a bare Python, for the tests' own pods."""
    return buildah.build(PYTHON, HERE / "python.Dockerfile", {}, {"BASE": _base()})


def operator(name: str = OPERATOR, source: Path = ROOT / "operator" / "springtide") -> buildah.Image:
    """Return the operator's image, of this checkout or of another source."""
    context = {"site": _site("springtide"), "springtide": source}
    return buildah.build(name, ROOT / "operator" / "Dockerfile", context, {"BASE": _base()})


def model_server() -> buildah.Image:
    """Return the model server's image, of this checkout, without torch: that comes by a volume (see `packages`)."""
    context = {
        "site": _site("springtide-model-server"),
        "springtide_server": ROOT / "model_server" / "springtide_server",
    }
    return buildah.build(MODEL_SERVER, ROOT / "model_server" / "Dockerfile", context, {"BASE": _base()})


def model(name: str, image: str) -> buildah.Image:
    """Return the image of a model's weights, to be mounted as an image volume."""
    return buildah.build(image, HERE / "model.Dockerfile", {"model": models.folder(name)})


def packages() -> Path:
    """Return a folder with torch and what it needs, linked from uv's cache: 5 GB that no image copies."""
    return _site("springtide-model-server", "--extra", "torch")


def _base() -> str:
    """Make the base image, a minimal Debian with Python, unless it is there; return its name."""
    with locked(cache_dir("locks") / "base"):
        if not buildah.exists(BASE):
            need("debootstrap")
            rootfs = cache_dir("tmp") / "base"
            shutil.rmtree(rootfs, ignore_errors=True)
            say(f"making the base image (Debian {RELEASE} and Python; once)")
            targets = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
            include = "--include=python3,ca-certificates"
            run("debootstrap", "--variant=minbase", include, RELEASE, rootfs, *targets[:1])
            for waste in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale"):
                shutil.rmtree(rootfs / waste)
            archive = rootfs.with_suffix(".tar")
            run("tar", "--create", "--numeric-owner", f"--file={archive}", f"--directory={rootfs}", ".")
            buildah.import_rootfs(BASE, archive)
            shutil.rmtree(rootfs)
            archive.unlink()
    return BASE


def _site(package: str, *options: str) -> Path:
    """Install what uv.lock says that a distribution of ours needs, without itself, into a cached folder."""
    export = ("export", "--quiet", "--frozen", "--no-dev", "--no-emit-workspace", "--no-header", "--no-annotate")
    wanted = run(uv(), *export, "--package", package, *options, cwd=ROOT)
    done = cache_dir("site") / f"{package}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    with locked(cache_dir("locks") / f"site-{package}"):
        if not done.exists():
            say(f"installing the packages of {package}")
            unfinished = cache_dir("tmp") / done.name
            shutil.rmtree(unfinished, ignore_errors=True)
            # compiled now, since a container can't write beside the sources and would compile at every start
            options = ("--no-deps", "--require-hashes", "--link-mode=hardlink", "--compile-bytecode")
            target = (f"--python-version={PYTHON_VERSION}", "--target", unfinished)
            run(uv(), "pip", "install", "--quiet", *options, *target, "--requirements", "-", stdin=wanted)
            unfinished.rename(done)
    return done
