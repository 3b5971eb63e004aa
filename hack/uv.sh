#!/bin/sh
# Prints the path of uv, installing it into the per-user cache when the machine has none.
set -eu
version=0.13.9
if command -v uv; then exit 0; fi
home="${XDG_CACHE_HOME:-$HOME/.cache}/springtide/uv-$version"
if [ ! -x "$home/bin/uv" ]; then
    command -v python3 >/dev/null || { echo "python3: not found; install Python 3.11 or newer" >&2; exit 1; }
    rm -rf "$home"
    # Debian keeps venv in a package of its own
    python3 -m venv "$home" >/dev/null 2>&1 || {
        rm -rf "$home"
        { apt-get update && apt-get install -y --no-install-recommends python3-venv; } >&2
        python3 -m venv "$home"
    }
    "$home/bin/pip" install --quiet --disable-pip-version-check "uv==$version" >&2
fi
echo "$home/bin/uv"
