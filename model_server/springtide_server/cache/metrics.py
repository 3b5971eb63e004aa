"""What /metrics shows of the result cache, where there is one."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

BYTE_BUCKETS = tuple(256 * 4**power for power in range(8))  # to 4 MiB


class CacheMetrics:
    """The cache's counters. A row is one input of an embedding request, or one prompt."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.rows = Counter(
            "springtide_result_cache_rows",
            "Rows by where their result came from: hit, shared, miss, bypass.",
            ["outcome"],
            registry=registry,
        )
        self.errors = Counter(
            "springtide_result_cache_errors",
            "Calls to Redis that failed (timeout, connection, authentication, refused), and broken entries (entry).",
            ["reason"],
            registry=registry,
        )
        self.entry_bytes = Histogram(
            "springtide_result_cache_entry_bytes", "Size of results kept.", buckets=BYTE_BUCKETS, registry=registry
        )
        self.available = Gauge(
            "springtide_result_cache_available", "0 while Redis is left alone because it failed.", registry=registry
        )
