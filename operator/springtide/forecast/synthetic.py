"""Made-up services for training and tests: what real traces are too few to show."""

import numpy as np

from springtide.forecast.horizon import DAY, HOUR, WEEK, Array


def synthetic(days: int, random: np.random.Generator) -> Array:
    """Return requests a second of one made-up service by minute, [days * DAY], NaN where nothing was measured.

    A daily and a weekly shape, slow drift, noise that lasts, bursts, jumps, ramps, recurring jobs, launches and
    outages, each present or not by chance; then Poisson noise, at a rate that is anything from idle to huge.
    """
    minutes = np.arange(days * DAY)
    log = _shape(minutes, random) + _drift(len(minutes), random)
    for event, often in ((_bursts, 0.5), (_jumps, 0.4), (_ramps, 0.5), (_jobs, 0.3), (_launch, 0.2)):
        if random.random() < often:
            log = log + event(minutes, random)
    expected = np.exp(np.clip(log - log.mean() + random.uniform(np.log(1), np.log(30_000)), -5, 14))
    expected = expected * random.gamma(1 / (noise := random.choice([1e-4, 1e-3, 1e-2, 5e-2])), noise, len(minutes))
    counts = random.poisson(expected).astype(np.float64)
    if random.random() < 0.3:
        _outages(counts, random)
    return np.asarray(counts / 60)


def _shape(minutes: Array, random: np.random.Generator) -> Array:
    turn = 2 * np.pi * (minutes / DAY + random.random())
    day = sum(
        random.normal(0, 1 / order) * np.sin(order * turn + random.uniform(0, 2 * np.pi)) for order in range(1, 6)
    )
    weekend = np.mod(minutes + random.integers(WEEK), WEEK) < 2 * DAY
    return np.asarray(random.uniform(0, 1.2) * day - random.uniform(0, 0.8) * weekend)


def _drift(length: int, random: np.random.Generator) -> Array:
    """Return noise that lasts minutes to hours: an autoregressive process around 0."""
    memory = np.exp(-1 / random.choice([5, 30, 120, 600]))
    shocks = random.normal(0, 1, length) * np.sqrt(1 - memory**2)
    made, value = np.empty(length), 0.0
    for minute, shock in enumerate(shocks):
        value = memory * value + shock
        made[minute] = value
    return np.asarray(made * random.choice([0.01, 0.05, 0.1, 0.3]))


def _bursts(minutes: Array, random: np.random.Generator) -> Array:
    """Return sudden crowds that go away slowly."""
    log = np.zeros(len(minutes))
    for at in random.integers(0, len(minutes), random.poisson(len(minutes) / DAY * random.choice([0.5, 2, 10])) + 1):
        rise, fall, height = random.integers(1, 20), random.uniform(5, 120), random.exponential(0.6)
        after = minutes[at:] - at
        log[at:] += height * np.minimum(after / rise, 1) * np.exp(-np.maximum(after - rise, 0) / fall)
    return log


def _jumps(minutes: Array, random: np.random.Generator) -> Array:
    """Return levels that change for good."""
    log = np.zeros(len(minutes))
    for at in random.integers(0, len(minutes), random.poisson(len(minutes) / DAY) + 1):
        log[at:] += random.normal(0, 0.7)
    return log


def _ramps(minutes: Array, random: np.random.Generator) -> Array:
    """Return a rise at the same time of every working day, as when offices open."""
    begin, length, height = random.integers(DAY), random.integers(5, 90), random.uniform(0.2, 2)
    into = np.mod(minutes - begin, DAY)
    busy = np.minimum(into / length, 1) * (into < random.integers(2, 12) * HOUR)
    return np.asarray(height * busy * (np.mod((minutes - begin) // DAY, 7) < random.integers(5, 8)))


def _jobs(minutes: Array, random: np.random.Generator) -> Array:
    """Return what timers start: a few minutes every quarter of an hour, hour or day."""
    every = random.choice([15, 30, 60, DAY])
    return np.asarray(random.uniform(0.1, 1.0) * (np.mod(minutes, every) < random.integers(1, 6)))


def _launch(minutes: Array, random: np.random.Generator) -> Array:
    """Return a rise that no day before has shown."""
    at = random.integers(len(minutes))
    return np.asarray(random.uniform(0.2, 1.2) * (1 + np.tanh((minutes - at) / random.uniform(4, 120))))


def _outages(counts: Array, random: np.random.Generator) -> None:
    for at in random.integers(0, len(counts), random.poisson(2) + 1):
        counts[at : at + random.integers(2, 300)] = 0 if random.random() < 0.5 else np.nan
