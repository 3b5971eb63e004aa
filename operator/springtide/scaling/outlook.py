"""A forecast as scaling reads it: quantiles of the rate for each minute to come."""

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

from springtide.scaling.belief import known

STEP = 60.0


@dataclass(frozen=True)
class Outlook:
    """Quantiles of requests a second, minute by minute.

    Step k, counted from 0, covers [issued + 60 k, issued + 60 (k + 1)) in Unix seconds. `levels` are quantiles in
    thousandths, ascending; `rates` has a row for each step and in it a rate for each level. A person's word is not
    `bounded` by what was measured: a launch that is announced has no traffic yet.
    """

    issued: float
    levels: tuple[int, ...]
    rates: tuple[tuple[float, ...], ...]
    bounded: bool = True

    @property
    def until(self) -> float:
        """When the last step ends."""
        return self.issued + STEP * len(self.rates)


def fault(outlook: Outlook) -> str:
    """Return what makes an outlook unusable at any time, or an empty string."""
    if not outlook.rates or not outlook.levels:
        return "the forecast has no steps"
    if not isfinite(outlook.issued):
        return "the forecast does not say when it was issued"
    if list(outlook.levels) != sorted(set(outlook.levels)) or not 0 < outlook.levels[0] <= outlook.levels[-1] < 1000:
        return "the forecast's levels must be thousandths that ascend"
    for row in outlook.rates:
        if len(row) != len(outlook.levels):
            return "the forecast has a step without a rate for each level"
        if not all(known(rate) for rate in row):
            return "the forecast has a rate that is no number, below 0 or absurd"
        if any(one > other for one, other in pairwise(row)):
            return "the forecast has a higher quantile that is below a lower one"
    return ""


def steps(outlook: Outlook, start: float, end: float) -> range:
    """Return the steps that cover part of [start, end]; what lies beyond the last step is taken to be as it is."""
    last = len(outlook.rates) - 1
    first = min(max(int((start - outlook.issued) // STEP), 0), last)
    return range(first, min(max(int((end - outlook.issued) // STEP), first), last) + 1)


def quantile(outlook: Outlook, step: int, level: float) -> float:
    """Return the rate at a level in thousandths, on the line between the two levels around it."""
    levels, row = outlook.levels, outlook.rates[step]
    if level <= levels[0]:
        return row[0]
    for index in range(1, len(levels)):
        if level <= levels[index]:
            share = (level - levels[index - 1]) / (levels[index] - levels[index - 1])
            return row[index - 1] + share * (row[index] - row[index - 1])
    return row[-1]


def middle(outlook: Outlook, step: int) -> float:
    """Return the rate that is as likely exceeded as not."""
    return quantile(outlook, step, 500)
