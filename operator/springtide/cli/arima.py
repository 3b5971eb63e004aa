"""AutoARIMA beside our own models in a backtest; the package statsforecast, which nothing else needs, computes it."""

import numpy as np

from springtide.forecast.horizon import DAY, STEPS, Array

_WINDOW = 240  # minutes that a forecast is made from


def auto_arima(rates: Array, origins: Array, fitted: int) -> Array:
    """Return [origins, STEPS]: the order is chosen anew each day on the day before, the forecasts use it every minute.

    Raises ModuleNotFoundError that says what to install.
    """
    try:
        from statsforecast.models import AutoARIMA
    except ModuleNotFoundError:
        raise ModuleNotFoundError("--auto-arima needs the package statsforecast: pip install statsforecast") from None
    logs = np.log1p(60 * np.nan_to_num(rates))
    made = np.empty((len(origins), STEPS))
    day, model = -1, AutoARIMA()
    for row, origin in enumerate(origins):
        if origin // DAY != day:
            day = origin // DAY
            model = AutoARIMA(max_p=5, max_q=5).fit(logs[max(origin - DAY, 0) : origin + 1])
        made[row] = model.forward(y=logs[max(origin - _WINDOW, 0) : origin + 1], h=STEPS)["mean"]
    return np.maximum(np.expm1(made), 0) / 60
