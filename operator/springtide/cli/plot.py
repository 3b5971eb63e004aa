"""A simulation as a picture: demand, what was forecast of it, capacity, and what was late."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from springtide.simulation.fluid import Floats
from springtide.simulation.run import Ints
from springtide.simulation.score import ROW, Timeline

_DAY = 86400
_MINUTE = 60 // ROW


class NoPlot(Exception):
    """What draws is not installed."""


def plot(path: Path, timeline: Timeline, rate: float, band: Sequence[tuple[float, float, float]], title: str) -> None:
    """Write a PNG; `band` has (seconds since the trace began, median, upper quantile) of what was forecast."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NoPlot("--plot needs matplotlib: pip install 'springtide[plot]'") from None
    figure = Figure(figsize=(14, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    whole = len(timeline.t_s) // _MINUTE * _MINUTE

    def minutes(values: Ints) -> Floats:
        means: Floats = values[:whole].reshape(-1, _MINUTE).mean(axis=1)
        return means

    days = timeline.t_s[:whole:_MINUTE] / _DAY
    above.plot(days, minutes(timeline.arrivals) / ROW, color="black", linewidth=0.6, label="arrivals")
    inside = [one for one in band if timeline.t_s[0] <= one[0] <= timeline.t_s[-1]]
    if inside:
        times, middle, high = np.array(inside).T
        above.fill_between(times / _DAY, middle, high, color="tab:blue", alpha=0.3, label="forecast, median to upper")
    above.plot(days, minutes(timeline.ready) * rate, color="tab:green", linewidth=0.8, label="ready replicas serve")
    above.plot(days, minutes(timeline.created) * rate, color="tab:green", linewidth=0.4, label="created ones would")
    above.set_ylabel("requests a second")
    above.set_title(title)
    above.legend(loc="upper left")
    below.fill_between(days, minutes(timeline.late) / ROW, color="tab:red", step="mid")
    below.set_ylabel("late a second")
    below.set_xlabel("days")
    figure.savefig(path, dpi=110)
