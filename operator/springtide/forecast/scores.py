"""How good forecasts were: the measures of a backtest."""

from dataclasses import dataclass

import numpy as np

from springtide.forecast.horizon import DAY, LEVELS, Array
from springtide.forecast.weights import pinball


@dataclass(frozen=True)
class Scores:
    """Measures of one model; each array is by horizon, in minutes ahead from 1 on."""

    wape: Array  # sum of absolute errors of the median over the sum of demand
    mase: Array  # mean absolute error over that of the last value one minute ahead
    pinball: Array  # mean over the quantiles, over the mean demand; NaN for a model without quantiles
    coverage: dict[int, Array]  # by quantile in thousandths: share of minutes at or below it
    width: dict[int, Array]  # mean distance from the median, over the mean demand
    excess: dict[int, Array]  # mean distance from what came, over the mean demand: what covering it costs
    daily_coverage: dict[int, Array]  # by day, over all horizons
    maximum: float  # mean absolute error of the median's maximum over all horizons, over the mean true maximum
    maximum_covered: dict[int, float]  # share of windows whose true maximum is at or below the quantile's


def score(quantiles: Array, truth: Array, minutes: Array, unit: float) -> Scores:
    """Return the measures of forecasts.

    `quantiles` is [origins, STEPS, LEVELS], or [origins, STEPS, 1] for medians alone; `truth` [origins, STEPS] with NaN
    where unknown; `minutes` [origins] the minutes of the origins, `unit` the error of which MASE is 1.
    """
    median, error = quantiles[..., 0], np.abs(quantiles[..., 0] - truth)
    demand = np.nanmean(truth, axis=0)
    levels = LEVELS[1:] if quantiles.shape[-1] > 1 else ()
    upper = {round(1000 * level): quantiles[..., place] for place, level in enumerate(levels, 1)}
    within = {level: np.where(np.isnan(truth), np.nan, truth <= band) for level, band in upper.items()}
    days = minutes // DAY
    whole = ~np.isnan(truth).any(axis=1)
    highest = truth[whole].max(axis=1)
    loss = pinball(quantiles, truth).mean(axis=-1) if levels else np.full_like(truth, np.nan)
    return Scores(
        wape=np.nanmean(error, axis=0) / demand,
        mase=np.nanmean(error, axis=0) / unit,
        pinball=np.nanmean(loss, axis=0) / demand if levels else loss[0],
        coverage={level: np.nanmean(inside, axis=0) for level, inside in within.items()},
        width={level: np.mean(band - median, axis=0) / demand for level, band in upper.items()},
        excess={level: np.nanmean(band - truth, axis=0) / demand for level, band in upper.items()},
        daily_coverage={
            level: np.array([np.nanmean(inside[days == day]) for day in np.unique(days)])
            for level, inside in within.items()
        },
        maximum=float(np.abs(median[whole].max(axis=1) - highest).mean() / highest.mean()),
        maximum_covered={level: float((highest <= band[whole].max(axis=1)).mean()) for level, band in upper.items()},
    )
