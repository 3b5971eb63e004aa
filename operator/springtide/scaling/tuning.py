"""The one default configuration: what is the same for every service."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """Constants of the decision; seconds where nothing else is said.

    tick: between two decisions. stale: metrics that are older hold the target. smoothing: the rate is the mean of as
    many scrapes. drain: a backlog is served within. growth: live metrics ask for this multiple of what is ready at
    most, or for least_growth replicas. start_p50 and start_p95: time to Ready while none was measured. surplus: a
    forecast raises capacity to this multiple of what live metrics ask for at most. doubt: a forecast that is this many
    times off the rate now is not believed. prior: standard deviation of the log ratio of rates a lead apart before any
    was seen; fast and slow: half-lives of its two means in minutes. safety, least_safety, most_safety: its start at
    99 % and the bounds of what widens headroom; learning: what a minute in which all requests are late adds to it;
    budget: the share of the lateness that the objective allows which is aimed at. spare: capacity beyond the need, as a
    share, that must be left before a replica is removed. patience: a replica that loads for so many p95 is stuck.
    """

    tick: float = 15.0
    stale: float = 90.0
    smoothing: int = 4
    drain: float = 120.0
    growth: float = 3.0
    least_growth: float = 100.0
    start_p50: float = 120.0
    start_p95: float = 300.0
    surplus: float = 1.4
    doubt: float = 2.0
    prior: float = 0.55
    fast: float = 30.0
    slow: float = 360.0
    safety: float = 0.5
    least_safety: float = -1.0
    most_safety: float = 4.0
    learning: float = 0.04
    budget: float = 0.7
    spare: float = 0.05
    patience: float = 2.0


TUNING = Tuning()
