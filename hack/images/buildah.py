"""Builds an image from a Dockerfile and a context, once, into the cache: an OCI archive that `load-image` takes."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hack.packages import need
from hack.shell import cache_dir, locked, run, say

UNUSED_SECONDS = 3600


@dataclass(frozen=True)
class Image:
    """An image as a file: `archive` is an OCI archive, `reference` the name under which a node knows it once loaded."""

    reference: str
    archive: Path


def build(name: str, dockerfile: Path, context: dict[str, Path], arguments: dict[str, str] | None = None) -> Image:
    """Return an image, built unless the cache holds one of the very same inputs.

    A name without a tag gets one that changes with the inputs, so that what refers to it is rolled out anew. `context`
    maps names in the build context to files or folders; they are linked, never copied.
    """
    key = hashlib.sha256(repr((name, sorted((arguments or {}).items()))).encode() + dockerfile.read_bytes())
    for part, path in sorted(context.items()):
        key.update(f"{part}={fingerprint(path)}".encode())
    digest = key.hexdigest()[:12]
    short = name.rpartition("/")[2].replace(":", "-")
    image = name if ":" in name else f"{name}:{digest}"
    done = cache_dir("images") / f"{short}-{digest}.tar"
    with locked(cache_dir("locks") / f"image-{short}"):
        if not done.exists():
            say(f"building image {image}")
            _build(image, dockerfile, context, arguments or {}, done)
            for older in done.parent.glob(f"{short}-????????????.tar"):
                # one that was asked for lately may just be loaded by a run in another checkout
                if time.time() - older.stat().st_mtime > UNUSED_SECONDS:
                    older.unlink()
        done.touch()
    return Image(image, done)


def import_rootfs(image: str, archive: Path) -> None:
    """Make an image of one layer from a tar of a root file system, in buildah's own storage."""
    container = _buildah("from", "scratch").strip()
    try:
        _buildah("add", "--quiet", container, archive, "/")
        _buildah("commit", "--quiet", container, image)
    finally:
        _buildah("rm", container)


def exists(image: str) -> bool:
    """Tell whether buildah's storage holds an image."""
    return bool(_buildah("images", "--quiet", "--filter", f"reference={image}").strip())


def fingerprint(path: Path) -> str:
    """Return a digest of a file, or of a folder's names and contents; a large file counts by size and change time."""
    digest = hashlib.sha256()
    files = (
        [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    )
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        state = file.stat()
        digest.update(f"{state.st_size} {state.st_mtime_ns}".encode() if state.st_size > 1 << 22 else file.read_bytes())
    return digest.hexdigest()


def _build(image: str, dockerfile: Path, context: dict[str, Path], arguments: dict[str, str], done: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache_dir("tmp")) as folder:
        for name, path in context.items():
            run("cp", "--archive", "--link", "--dereference", path, Path(folder) / name)
        (Path(folder) / ".dockerignore").write_text("**/__pycache__\n")
        options = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        _buildah("build", "--quiet", "--layers=false", *options, "--tag", image, "--file", dockerfile, folder)
        unfinished = Path(folder) / "image.tar"
        _buildah("push", "--quiet", "--disable-compression", image, f"oci-archive:{unfinished}:{image}")
        unfinished.rename(done)
    _buildah("rmi", "--force", image)


def _buildah(*words: str | Path) -> str:
    need("buildah")
    storage = cache_dir("buildah")
    env = {
        "BUILDAH_ISOLATION": "chroot",
        "STORAGE_DRIVER": "overlay",
        "TMPDIR": str(cache_dir("tmp")),
        "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "/run"),
    }
    return run("buildah", "--root", storage / "root", "--runroot", storage / "run", *words, env=env)
