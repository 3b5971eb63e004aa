"""Recorded traffic as arrivals by second."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from springtide.forecast.series import BadTrace, Rows

_LONGEST = 366 * 86400


@dataclass(frozen=True)
class Trace:
    """Counts of requests: `counts[i]` came in [i seconds, (i + 1) seconds) after `start`, the time of the first row."""

    start: float
    seconds: int
    counts: NDArray[np.int64]

    @property
    def length(self) -> int:
        """Its length in seconds."""
        return self.seconds * len(self.counts)


def binned(rows: Rows) -> Trace:
    """Return rows as bins of one length; those that are left out have no requests. Raises BadTrace.

    Single requests are counted by second. Counts that are not whole are rounded so that they add up to the same.
    """
    start = float(rows.times[0])
    if rows.counts is None:
        seconds = (rows.times - np.floor(start)).astype(np.int64)
        if seconds[-1] > _LONGEST:
            raise BadTrace(len(seconds) + 1, "the trace is longer than a year: t_s is in seconds")
        return Trace(float(np.floor(start)), 1, np.bincount(seconds).astype(np.int64))
    width = rows.width
    if width < 1 or width != int(width):
        raise BadTrace(2, f"bins must be whole seconds long, not {width:g}: write a row for each request instead")
    places = (rows.times - start) / width
    off = np.flatnonzero(np.abs(places - np.round(places)) > 1e-6)
    if len(off):
        raise BadTrace(int(off[0]) + 2, f"t_s {rows.times[off[0]]:g} is not where a bin of {width:g} s begins")
    counts = np.zeros(round(float(places[-1])) + 1)
    counts[np.round(places).astype(np.int64)] = rows.counts
    return Trace(start, int(width), np.diff(np.round(np.cumsum(counts)), prepend=0).astype(np.int64))


def arrivals(trace: Trace, seed: int) -> NDArray[np.int64]:
    """Return the requests of each second: Poisson arrivals, of which each bin has as many as were recorded.

    Given their number, the times of a Poisson process are uniform over the bin.
    """
    if trace.seconds == 1:
        return trace.counts
    random = np.random.default_rng([seed, 0])
    shares = np.full(trace.seconds, 1 / trace.seconds)
    return random.multinomial(trace.counts, shares).reshape(-1)
