"""The recorded series that are read, one question for each, over all services.

The rules that record them are in the chart: files/signals.rules.yaml. Each row has the labels namespace, service, pod
and source, a row of a pod also pool.
"""

from collections.abc import Mapping

# Signal → series. `use` holds two signals, kv and gpu, told apart by the label `resource`.
RECORDS: Mapping[str, str] = {
    "scraped": "springtide:scraped:timestamp",
    "requests": "springtide:requests:rate1m",
    "served": "springtide:served:rate1m",
    "input_tokens": "springtide:input_tokens:rate1m",
    "output_tokens": "springtide:output_tokens:rate1m",
    "queue": "springtide:queue:sum",
    "in_flight": "springtide:in_flight:sum",
    "latency": "springtide:latency_seconds:p99_2m",
    "time_to_first_token": "springtide:time_to_first_token_seconds:p99_2m",
    "use": "springtide:use:ratio",
}
RESOURCES = ("kv", "gpu")

# How the values of pods become one of the pool.
SUMS = ("requests", "served", "input_tokens", "output_tokens", "queue", "in_flight")
MEDIANS = ("latency", "time_to_first_token")
MEANS = RESOURCES
SIGNALS = (*SUMS, *MEDIANS, *MEANS)
