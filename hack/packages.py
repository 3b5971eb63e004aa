"""Debian packages that the tools need, installed by apt when they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess

from hack.shell import Failure, cache_dir, locked, run, say


def need(*packages: str) -> None:
    """Install the packages that are missing; does nothing, quickly, when all are there.

    Raises Failure when this isn't Debian, the user isn't root, or apt can't install one.
    """
    missing = [package for package in packages if not _installed(package)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Failure(f"these Debian packages are missing and there is no apt-get to install them: {' '.join(missing)}")
    if os.geteuid() != 0:
        raise Failure(f"these Debian packages are missing; run as root: apt-get install {' '.join(missing)}")
    with locked(cache_dir("locks") / "apt"):
        say(f"installing Debian packages: {' '.join(missing)}")
        apt = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run(*apt, "update", env=quiet)
        run(*apt, "install", "--no-install-recommends", *missing, env=quiet)


def _installed(package: str) -> bool:
    try:
        query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
        return subprocess.run(query, capture_output=True, text=True, check=False).stdout == "installed"
    except FileNotFoundError:
        return False
