"""The layout of the repository."""

import subprocess
import sys
import sysconfig
from importlib.machinery import PathFinder
from pathlib import Path

from tests.unit.samples import ROOT


def test_operator_is_no_package() -> None:
    # With an __init__.py, operator/ would shadow Python's own `operator` wherever the root is on the path.
    assert not (ROOT / "operator" / "__init__.py").exists()
    assert not list((ROOT / "operator").glob("*.py"))
    found = PathFinder.find_spec("operator", [str(ROOT), sysconfig.get_path("stdlib")])
    assert found is not None
    assert found.origin is not None
    assert Path(found.origin).parent == Path(sysconfig.get_path("stdlib"))


def test_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_are_short() -> None:
    long = [path for path in (ROOT / "operator").rglob("*.py") if len(path.read_text().splitlines()) > 250]
    assert not long
