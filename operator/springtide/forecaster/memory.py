"""What the forecaster knows, and the files that it is kept in: its state, and the checkpoint that training writes."""

import logging
from collections.abc import Callable
from pathlib import Path

from springtide.forecast.archive import BadArchive
from springtide.forecast.checkpoint import Checkpoint, load_checkpoint
from springtide.forecast.ensemble import Ensemble
from springtide.forecaster.files import replace_file
from springtide.forecaster.metrics import Fault

logger = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


class Memory:
    """An ensemble and where it is kept; without a folder it is forgotten when the process ends."""

    def __init__(self, folder: Path | None, checkpoint: Path | None, failed: Callable[[Fault], None]) -> None:
        """Read what is there. What is damaged is said, counted by `failed` and done without."""
        self._state = folder / "state.npz" if folder else None
        self._file = checkpoint
        self._failed = failed
        self._stamp: Stamp | None = None
        self._checkpoint: Checkpoint | None = None
        self.ensemble = Ensemble()
        self.look_for_checkpoint()
        if self._state is not None:
            self._restore(self._state)

    @property
    def pretrained(self) -> bool:
        """Whether forecasts come from the checkpoint that ships."""
        return self._checkpoint is None

    def forget(self) -> None:
        """Begin anew, without a past."""
        self.ensemble = Ensemble(self._checkpoint)

    def look_for_checkpoint(self) -> None:
        """Go on from the checkpoint in the file when that has changed; from the one that ships when it is damaged."""
        stamp = _stamp(self._file)
        if self._file is None or stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._checkpoint = load_checkpoint(self._file.read_bytes())
            logger.info("forecasts come from the checkpoint %s", self._file)
        except (BadArchive, OSError) as error:
            self._checkpoint = None
            self._failed("CorruptCheckpoint")
            logger.error("forecasts come from the checkpoint that ships: %s can't be used: %s", self._file, error)
        self.ensemble.adopt(self._checkpoint)

    def save(self) -> None:
        """Write the state to its file, if it has one."""
        if self._state is None:
            return
        try:
            replace_file(self._state, self.ensemble.save_into)
        except OSError as error:
            self._failed("NotSaved")
            logger.error("the state can't be saved: %s", error)

    def _restore(self, state: Path) -> None:
        try:
            with state.open("rb") as file:
                self.ensemble = Ensemble.restore(file, self._checkpoint)
        except FileNotFoundError:
            logger.info("there is no state yet in %s", state)
        except (BadArchive, OSError) as error:
            self._failed("CorruptState")
            logger.error("it begins anew from the past that Prometheus has: %s can't be used: %s", state, error)
        else:
            logger.info("the state of %d services is restored", len(self.ensemble.services))


def _stamp(file: Path | None) -> Stamp | None:
    """Return what changes when a file is replaced, None while there is none."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
