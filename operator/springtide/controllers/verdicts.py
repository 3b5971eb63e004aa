"""What became of TrafficForecasts goes into their status, beside the reconcile of the service that they are about."""

from collections.abc import Callable, Mapping

from springtide.api.errors import Missing, SpringtideError
from springtide.clients.cluster import TRAFFIC_FORECAST, Cluster
from springtide.controllers.cache import Cache, Name
from springtide.controllers.status import write_status
from springtide.scaling.statements import Verdict
from springtide.status.forecasts import compute_forecast_status, refusal


class Verdicts:
    """Writes the status of TrafficForecasts."""

    def __init__(self, cluster: Cluster, cache: Cache, clock: Callable[[], str]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._clock = clock

    async def report(
        self, key: Name, verdicts: Mapping[str, Verdict], otherwise: Verdict | None = None
    ) -> SpringtideError | None:
        """Write the status of each TrafficForecast of a service where it differs; return what went wrong first.

        `verdicts` are by name; `otherwise` is that of all others, None leaves them as they are.
        """
        failed: SpringtideError | None = None
        for entry in self._cache.forecasts.of(key):
            verdict = refusal(entry.value) or verdicts.get(entry.name[1], otherwise)
            if verdict is None or entry.deleting:
                continue
            status = compute_forecast_status(entry.value, verdict, self._clock())
            try:
                await write_status(self._cluster, self._cache, TRAFFIC_FORECAST, entry, status)
            except Missing:
                continue  # its deletion comes as an event
            except SpringtideError as error:
                failed = failed or error
        return failed
