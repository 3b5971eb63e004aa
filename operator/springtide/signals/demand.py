"""The demand of each service by one question, for forecasts: what its pods tell, added up.

What each fault does:

| fault | the demand is |
|---|---|
| no pod tells; the rules or the scrapes stand still for a minute | left out: not known |
| a pod's scrape fails, that told within five minutes | the others' mean for it; NaN when it is more than half of them |
| NaN, infinity or a negative number of a pod | the same |
| a pod says a hundred times what its peers say | NaN, see `outliers.trim`: nobody knows here what a replica can do |
| the same row twice, as of two Prometheis | the larger counts |
| a service of the same name in another namespace | another service |
"""

import math
from collections import defaultdict
from collections.abc import Iterable

from springtide.signals.answers import Sample, Series
from springtide.signals.outliers import trim

_POD = "on (namespace, service, pool, pod)"
_RATE = 'springtide:requests:rate1m{source="pod"}'

DEMAND = f"""
  ({_RATE} and {_POD} (springtide:scraped:timestamp{{source="pod"}} > time() - 60))
or {_POD}
  (last_over_time({_RATE}[5m]) and {_POD} (up{{job="springtide-model-servers"}} == 0)) * NaN
"""
"""A row for each pod that is scraped well, and NaN for each whose scrape fails though it was well a while ago.

A pod that never told anything is still loading, which is no fault.
"""

Service = tuple[str, str]
"""Namespace and name."""

_UNSEEN = -1.0


def past_demand(service: Service | None = None) -> str:
    """Return the question for a row for each service, or for that of one, over many minutes.

    A pod that lied once is a minute that is not typical. What two Prometheis say of a pod counts once.
    """
    which = 'source="pod"' + (',namespace="{}",service="{}"'.format(*service) if service else "")
    return f"""
      sum by (namespace, service) (
        max by (namespace, service, pool, pod) (springtide:requests:rate1m{{{which}}} >= 0 < Inf))
    """


def read_demand(samples: Iterable[Sample]) -> dict[Service, float]:
    """Return requests a second by service from the answer to DEMAND, NaN where it can't be told."""
    pools: dict[Service, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for sample in samples:
        label = sample.labels.get
        pods = pools[label("namespace", ""), label("service", "")][label("pool", "")]
        pod = label("pod", "")
        pods[pod] = max(pods.get(pod, _UNSEEN), sample.value if 0 <= sample.value < math.inf else _UNSEEN)
    return {service: sum(map(_demand, of.values())) for service, of in pools.items()}


def read_past(series: Iterable[Series], first: int, count: int) -> dict[Service, list[float]]:
    """Return requests a second by service for `count` minutes from the unix minute `first` on, NaN where unknown.

    The value at the end of a minute is the minute's.
    """
    found: dict[Service, list[float]] = {}
    for one in series:
        service = one.labels.get("namespace", ""), one.labels.get("service", "")
        minutes = found.setdefault(service, [math.nan] * count)
        for at, value in one.values:
            place = round(at / 60) - 1 - first
            if 0 <= place < count and 0 <= value < math.inf:
                minutes[place] = value
    return found


def _demand(pods: dict[str, float]) -> float:
    """Return what the pods of a pool have in all."""
    known = {pod: value for pod, value in pods.items() if value != _UNSEEN}
    if not known or 2 * len(known) < len(pods):
        return math.nan
    trimmed = trim(known, known.keys(), None)
    return math.nan if trimmed is None else sum(trimmed.values.values()) * len(pods) / len(known)
