"""Series of demand by minute, from rows of counts or of single requests."""

import csv
import io
from dataclasses import dataclass

import numpy as np

from springtide.forecast.horizon import Array

_LONGEST = 366 * 1440  # minutes


class BadTrace(ValueError):
    """The text is no trace; `line` says where, the message what is wrong and what to do."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True)
class Rows:
    """A trace as it is written: when each row begins, in seconds, and how many requests it counts."""

    times: Array  # [rows], ascending
    counts: Array | None  # [rows]; None: each row is a request
    seconds: float | None = None  # how long a row is; None: as long as most are apart

    @property
    def width(self) -> float:
        """How long the bin of a row is, in seconds."""
        return float(np.median(np.diff(self.times))) if self.seconds is None else self.seconds


def parse_trace(text: str) -> Rows:
    """Return the rows of a CSV with the columns t_s,requests, or with t_s,in_tokens,out_tokens for a row a request.

    Further columns are ignored. Raises BadTrace.
    """
    lines = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(lines, [])]
    if header[:1] != ["t_s"] or not {"requests", "in_tokens"} & set(header):
        raise BadTrace(1, "the first line must name the columns: t_s,requests or t_s,in_tokens,out_tokens")
    column = header.index("requests") if "requests" in header else None
    rows: list[tuple[float, float]] = []
    for fields in lines:
        if not fields:
            continue
        try:
            row = (float(fields[0]), 1.0 if column is None else float(fields[column]))
        except (ValueError, IndexError):
            raise BadTrace(lines.line_num, f"expected numbers for {','.join(header)}") from None
        if not 0 <= row[1] < float("inf") or not abs(row[0]) < float("inf"):
            raise BadTrace(lines.line_num, "t_s must be finite, and requests finite and 0 or more")
        if rows and (row[0] < rows[-1][0] or (column is not None and row[0] == rows[-1][0])):
            raise BadTrace(lines.line_num, "t_s must rise from row to row: sort the file")
        rows.append(row)
    if len(rows) < 2:
        raise BadTrace(lines.line_num, "a trace needs two rows or more")
    times, counts = np.array(rows).T
    if times[-1] - times[0] > 60 * _LONGEST:
        raise BadTrace(lines.line_num, "the trace is longer than a year: t_s is in seconds")
    return Rows(times, None if column is None else counts)


def of_minutes(first: int, rates: Array) -> Rows:
    """Return requests a second of each minute from the unix minute `first` on as rows; NaN is left out."""
    known = np.flatnonzero(np.isfinite(rates))
    return Rows(60.0 * (first + known), 60 * np.asarray(rates, dtype=np.float64)[known], 60)


def per_minute(rows: Rows) -> Array:
    """Return requests a second for each minute from the first row's on, NaN where less than half a minute is covered.

    A count is spread evenly over its bin; where rows are missing, nothing is known. Of single requests the last minute
    is left out, since it may not be over.
    """
    start = 60 * np.floor(rows.times[0] / 60)
    times = rows.times - start
    if rows.counts is None:
        return np.bincount((times // 60).astype(np.int64))[:-1] / 60
    ends = np.minimum(times + rows.width, np.append(times[1:], np.inf))
    edges = np.stack([times, ends], axis=1).ravel()
    minutes = np.arange(0, edges[-1] + 60 - 1e-6, 60)
    counted = _over(edges, rows.counts, minutes)
    covered = _over(edges, ends - times, minutes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(covered >= 30 - 1e-6, counted / covered, np.nan)


def _over(edges: Array, amounts: Array, minutes: Array) -> Array:
    """Return how much of the amounts, each spread between two edges, falls into each minute."""
    so_far = np.repeat(np.append(0, np.cumsum(amounts)), 2)[1:-1]
    return np.diff(np.interp(minutes, edges, so_far))
