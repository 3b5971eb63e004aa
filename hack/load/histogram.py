"""Durations in bounded memory: logarithmic buckets, as HDR histograms have them."""

from __future__ import annotations

import math

_WIDTH = 1.0099
_SCALE = 1 / math.log(_WIDTH)
_FLOOR = 1e-6  # a microsecond: what is shorter counts as that long
_CEILING = 1e5
RELATIVE_ERROR = math.sqrt(_WIDTH) - 1
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


class Histogram:
    """Counts in buckets 0.99 % wide, at most 2,600 of them; quantiles are off by 0.5 % at most, the ends are exact."""

    __slots__ = ("buckets", "count", "high", "low", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.low = math.inf
        self.high = 0.0

    def record(self, seconds: float) -> None:
        """Count one duration."""
        seconds = min(max(seconds, _FLOOR), _CEILING)
        bucket = int(math.log(seconds / _FLOOR) * _SCALE)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1
        self.count += 1
        self.total += seconds
        self.low = min(self.low, seconds)
        self.high = max(self.high, seconds)

    def merge(self, other: Histogram) -> None:
        """Add what another one counted."""
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count
        self.count += other.count
        self.total += other.total
        self.low = min(self.low, other.low)
        self.high = max(self.high, other.high)

    def quantile(self, share: float) -> float:
        """Return the shortest duration that `share` of all don't exceed; 0 where nothing was counted."""
        rank = max(1, math.ceil(share * self.count))
        if rank >= self.count:
            return self.high
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                middle = _FLOOR * math.pow(_WIDTH, bucket + 0.5)
                return min(max(middle, self.low), self.high)
        return self.high

    def milliseconds(self) -> dict[str, float | int]:
        """Return the count, the mean, the quantiles and the ends, as reports have them."""
        if not self.count:
            return {"count": 0}
        numbers = {"min": self.low, "mean": self.total / self.count}
        numbers |= {name: self.quantile(share) for name, share in QUANTILES.items()} | {"max": self.high}
        return {"count": self.count} | {name: round(1000 * number, 3) for name, number in numbers.items()}
