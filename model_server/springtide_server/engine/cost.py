"""What a batch costs, learned while serving: seconds and bytes as lines over padded tokens, one per bucket of length.

One per bucket, since attention's part grows with the square of the length. No clock, no torch.
"""

import math

SHORTEST = 16
FADE = 0.98  # of an observation's weight with each later one: about the last 50 count
PRIOR = 0.02  # weight of each of the two points that stand for what is believed beforehand
TRUSTED = 5  # observations, after which single ones far off are left out
OUTLIER = 3.0  # times what was predicted, or a third of it
# Day one, until the first batches have been seen: a small encoder on two cores.
SECONDS_PER_TOKEN, SECONDS_PER_BATCH = 30e-6, 3e-3
BYTES_PER_TOKEN = 128 * 1024
MARGIN = 1.25  # on predicted bytes, since too little ends in an out-of-memory error


def bucket(length: int) -> int:
    """The power of two that a length belongs to, at least SHORTEST."""
    return max(SHORTEST, 1 << max(0, length - 1).bit_length())


class Line:
    """y = slope·x + base, neither negative: least squares with fading weights, around a prior, outliers left out."""

    def __init__(self, slope: float, base: float, at: float) -> None:
        """The prior, and where on it (x) its second point lies; the first is at 0."""
        self.slope, self.base = slope, base
        self._low = (slope * at + base) / 1e6  # predictions below this say nothing about outliers
        self._prior = [PRIOR * value for value in _powers(0, base, 1)]
        self._prior = [a + PRIOR * b for a, b in zip(self._prior, _powers(at, slope * at + base, 1), strict=True)]
        self._sums = [0.0] * 5
        self._seen = 0
        self._strange = False  # the last one was far off

    def __call__(self, x: float) -> float:
        """The prediction."""
        return self.slope * x + self.base

    def observe(self, x: float, y: float) -> None:
        """Learn; what is not a finite number of at least 0 is left out."""
        if not (math.isfinite(y) and y >= 0):
            return
        predicted = max(self(x), self._low)
        cut = min(max(y, predicted / OUTLIER), predicted * OUTLIER)
        if self._seen >= TRUSTED and cut != y:
            # One is chance; a second in a row may be how it is now, and is followed step by step.
            first, self._strange = not self._strange, True
            if first:
                return
            y = cut
        else:
            self._strange = False
        self._seen += 1
        self._sums = [FADE * old + new for old, new in zip(self._sums, _powers(x, y, 1), strict=True)]
        n, sx, sxx, sy, sxy = (a + b for a, b in zip(self._prior, self._sums, strict=True))
        spread = n * sxx - sx * sx
        self.slope = (n * sxy - sx * sy) / spread if spread > 0 else 0.0
        self.base = (sy - self.slope * sx) / n
        if self.slope < 0:
            self.slope, self.base = 0.0, sy / n
        elif self.base < 0:
            self.slope, self.base = sxy / sxx, 0.0


def _powers(x: float, y: float, weight: float) -> list[float]:
    return [weight, weight * x, weight * x * x, weight * y, weight * x * y]


class Costs:
    """Predicts batches of so many tokens, padding included where there is any; the longest row has `longest`."""

    def __init__(self) -> None:
        self._seconds: dict[int, Line] = {}
        self._bytes: dict[int, Line] = {}

    def seconds(self, tokens: int, longest: int) -> float:
        """The time of a batch."""
        return self._duration(longest)(tokens)

    def token_seconds(self, longest: int) -> float:
        """The time of one more token."""
        return self._duration(longest).slope

    def overhead(self, longest: int) -> float:
        """The time of a batch whatever its size: what a row saves that joins another's batch."""
        return self._duration(longest).base

    def bytes(self, tokens: int, longest: int) -> float:
        """The memory of a batch beyond what the model itself holds, with a margin."""
        return MARGIN * self._memory(longest)(tokens)

    def tokens_within(self, available: float, longest: int) -> float:
        """Tokens whose batch needs no more than so many bytes."""
        line = self._memory(longest)
        free = available / MARGIN - line.base
        if free <= 0:
            return 0
        return free / line.slope if line.slope > 0 else math.inf

    def observe(self, tokens: int, longest: int, seconds: float, peak_bytes: int | None) -> None:
        """What a batch took; the peak is None where it can't be measured."""
        self._duration(longest).observe(tokens, seconds)
        if peak_bytes is not None:
            self._memory(longest).observe(tokens, max(0, peak_bytes))

    def _duration(self, longest: int) -> Line:
        return _line(self._seconds, bucket(longest), SECONDS_PER_TOKEN, SECONDS_PER_BATCH)

    def _memory(self, longest: int) -> Line:
        return _line(self._bytes, bucket(longest), BYTES_PER_TOKEN, 0)


def _line(lines: dict[int, Line], size: int, slope: float, base: float) -> Line:
    """The bucket's line; a new one begins as its nearest neighbour is, the first one as the prior says."""
    if size not in lines:
        if lines:
            near = lines[min(lines, key=lambda other: abs(math.log2(other / size)))]
            slope, base = near.slope, near.base
        lines[size] = Line(slope, base, 8 * size)
    return lines[size]


class Pace:
    """Seconds per token of the requests lately served: turns a backlog into a wait."""

    def __init__(self) -> None:
        self._seconds, self._tokens, self._seen = 0.0, 0.0, 0

    def observe(self, seconds: float, tokens: int) -> None:
        """So many tokens, padding not counted, were served in this time."""
        self._seconds, self._tokens = FADE * self._seconds + seconds, FADE * self._tokens + tokens
        self._seen += 1

    def seconds(self, tokens: int) -> float:
        """How long a backlog takes."""
        return tokens * (self._seconds / self._tokens if self._tokens else SECONDS_PER_TOKEN)

    @property
    def known(self) -> bool:
        """Whether enough was seen to refuse somebody because of it."""
        return self._seen >= TRUSTED
