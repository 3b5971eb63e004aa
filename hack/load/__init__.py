"""The project's one load generator: open loop, bounded in time, only for this machine. The guide is docs/load.md."""

from hack.load.options import Options
from hack.load.processes import Background, run

__all__ = ["Background", "Options", "run"]
