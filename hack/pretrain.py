"""Makes the checkpoint that ships with springtide.forecast: `python -m hack.pretrain --traces DIR`.

It learns from made-up services and from days of public traces that no figure of ours is measured on. One core, minutes.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from springtide.forecast.checkpoint import dump_checkpoint
from springtide.forecast.dataset import Rows, rows_of
from springtide.forecast.horizon import DAY, WEEK, Array
from springtide.forecast.series import parse_trace, per_minute
from springtide.forecast.synthetic import synthetic
from springtide.forecast.train import Plan, train

TARGET = Path(__file__).parents[1] / "operator" / "springtide" / "forecast" / "pretrained.npz"


@dataclass(frozen=True)
class Source:
    """The days of a trace that are learned from; later ones are never read."""

    file: str
    days: int
    thinned: tuple[float, ...] = (1.0,)  # shares of the requests: fewer are another, noisier service


SOURCES = (
    Source("azure2024_conv_10s_days1-5.csv", 3, (1.0, 0.1, 0.01)),
    Source("servegen_m_mid_1min_recon.csv", 7, (1.0, 0.01, 0.001)),
    Source("servegen_m_small_1min_recon.csv", 7, (1.0, 0.01, 0.001)),
    Source("worldcup1998_1min_days1-61.csv", 40, (1.0, 0.05)),
    Source("nasa1995_1min.csv", 28, (1.0, 0.2)),
)


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, metavar="DIR")
    parser.add_argument("--services", type=int, default=60, help="made-up ones")
    parser.add_argument("--rows", type=int, default=1500, help="of each service")
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()

    torch.set_num_threads(1)
    started = time.monotonic()
    random = np.random.default_rng(options.seed)
    parts = [_rows(synthetic(9, random), options.rows, random) for _ in range(options.services)]
    for source in SOURCES:
        rates = per_minute(parse_trace((options.traces / source.file).read_text()))[: source.days * DAY]
        for share in source.thinned:
            # Each counts as several made-up services: real demand is what it is for.
            parts.append(_rows(_thinned(rates, share, random), 4 * options.rows, random))
    plan = Plan(steps=options.steps, seed=options.seed)
    checkpoint = train(parts, plan)
    options.output.write_bytes(dump_checkpoint(checkpoint))
    size = options.output.stat().st_size
    rows = sum(len(part.following) for part in parts)
    print(f"{options.output}: {size} bytes, from {rows} rows in {time.monotonic() - started:.0f} s")


def _rows(rates: Array, count: int, random: np.random.Generator) -> Rows:
    # Nobody knows the time zone of a service to come: a random one keeps false hours from being learned.
    origins = np.sort(random.choice(len(rates), size=min(count, len(rates)), replace=False))
    return rows_of(rates, origins, int(random.integers(WEEK)))


def _thinned(rates: Array, share: float, random: np.random.Generator) -> Array:
    """Return the rates if only a random share of the requests had come, which keeps Poisson noise honest."""
    if share == 1:
        return rates
    counts = np.round(60 * np.nan_to_num(rates)).astype(np.int64)
    return np.where(np.isnan(rates), np.nan, random.binomial(counts, share) / 60)


if __name__ == "__main__":
    main()
