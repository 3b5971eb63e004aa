"""A ConfigMap volume as a kubelet makes it: links to a folder that is replaced as a whole."""

import json
import shutil
from pathlib import Path
from typing import Any


class ConfigMapVolume:
    """One that holds policy.json, or nothing yet."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self.file = folder / "policy.json"
        folder.mkdir()

    def write(self, **policy: Any) -> None:
        self.write_text(json.dumps(policy))

    def write_text(self, text: str) -> None:
        """The ConfigMap has changed."""
        self._number += 1
        new = self._folder / f"..2026_{self._number}"
        new.mkdir()
        (new / "policy.json").write_text(text)
        self._swap(new)
        if not self.file.is_symlink():
            self.file.symlink_to("..data/policy.json")

    def remove(self) -> None:
        """The ConfigMap is gone."""
        self._number += 1
        new = self._folder / f"..2026_{self._number}"
        new.mkdir()
        self._swap(new)
        self.file.unlink()

    def _swap(self, new: Path) -> None:
        link, data = self._folder / "..data_tmp", self._folder / "..data"
        before = data.resolve() if data.is_symlink() else None
        link.symlink_to(new.name)
        link.rename(data)
        if before is not None:
            shutil.rmtree(before)
