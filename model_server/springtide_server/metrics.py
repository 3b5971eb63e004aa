"""What /metrics shows. One set per server, in a registry of its own."""

from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from springtide_server import cgroup
from springtide_server.precision import Outcome

# Their `_created` series double the number of series and say what a restart's reset says too.
disable_created_metrics()  # type: ignore[no-untyped-call]

# Seconds. From a cached embedding to a long generation on a CPU.
REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
TOKEN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
RATIO_BUCKETS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The server's counters, gauges and histograms; times are in seconds."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.requests = Counter("springtide_requests", "HTTP requests answered.", ["route", "code"], registry=registry)
        self.request_seconds = Histogram(
            "springtide_request_duration_seconds",
            "From the request's head to the end of its answer, streams included.",
            ["route"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge(
            "springtide_requests_in_flight", "API requests being answered, waiting ones included.", registry=registry
        )
        self.queue_depth = Gauge(
            "springtide_queue_depth", "Requests waiting for the engine.", ["class"], registry=registry
        )
        self.queue_wait = Histogram(
            "springtide_queue_wait_seconds",
            "From a request's place in the queue to its start in the engine.",
            ["class"],
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.rejections = Counter(
            "springtide_rejections",
            "Requests refused, or dropped while they waited.",
            ["reason", "class"],
            registry=registry,
        )
        self.batch_rows = Histogram("springtide_batch_rows", "Rows of a batch.", buckets=ROW_BUCKETS, registry=registry)
        self.batch_fill = Histogram(
            "springtide_batch_fill_ratio",
            "Rows of a batch to the most allowed.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.batch_padding = Histogram(
            "springtide_batch_padding_waste_ratio",
            "Part of a batch's tokens that is padding.",
            buckets=RATIO_BUCKETS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "springtide_batch_duration_seconds",
            "Time of the model for a batch.",
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.batch_row_limit = Gauge("springtide_batch_row_limit", "Most rows of a batch.", registry=registry)
        self.batch_token_limit = Gauge(
            "springtide_batch_token_limit",
            "Most tokens of a batch at present; below the setting after memory ran out.",
            registry=registry,
        )
        self.batch_memory_available = Gauge(
            "springtide_batch_memory_available_bytes", "What the next batch may use.", registry=registry
        )
        self.oom_retries = Counter(
            "springtide_out_of_memory_retries", "Batches split because memory ran out.", registry=registry
        )
        self.prompt_tokens = Counter("springtide_prompt_tokens", "Tokens read by the model.", registry=registry)
        self.generation_tokens = Counter(
            "springtide_generation_tokens", "Tokens written by the model.", registry=registry
        )
        self.time_to_first_token = Histogram(
            "springtide_time_to_first_token_seconds",
            "From a request's place in the queue to its first token.",
            buckets=REQUEST_BUCKETS,
            registry=registry,
        )
        self.inter_token_latency = Histogram(
            "springtide_inter_token_latency_seconds",
            "Between two tokens of one answer.",
            buckets=TOKEN_BUCKETS,
            registry=registry,
        )
        # Named as vLLM names them: what routes and scales by load knows these.
        self.requests_running = Gauge("vllm:num_requests_running", "Requests in the model's steps.", registry=registry)
        self.requests_waiting = Gauge(
            "vllm:num_requests_waiting", "Requests waiting for the engine, or to go on in it.", registry=registry
        )
        self.kv_usage = Gauge("vllm:kv_cache_usage_perc", "Part of the KV cache in use, 0 to 1.", registry=registry)
        self.kv_tokens = Gauge("springtide_kv_cache_tokens", "Tokens that the KV cache can hold.", registry=registry)
        self.step_seconds = Histogram(
            "springtide_step_duration_seconds", "Time of a step of the model.", buckets=TOKEN_BUCKETS, registry=registry
        )
        self.scheduled = (
            Counter("springtide_preemptions", "Times a running request had to give way.", registry=registry),
            Counter("springtide_prefix_cache_query_tokens", "Tokens of prompts that began.", registry=registry),
            Counter("springtide_prefix_cache_hit_tokens", "How many of them were known already.", registry=registry),
        )
        self.model_load = Gauge(
            "springtide_model_load_seconds", "Time of each phase of the load.", ["phase"], registry=registry
        )
        self.precision = Gauge(
            "springtide_precision_info",
            "1; which precision was asked for and used.",
            ["asked", "used"],
            registry=registry,
        )
        self.precision_drop = Gauge(
            "springtide_precision_drop_ratio",
            "Accuracy that a quantised precision costs on the sample, also where it was then not used.",
            ["precision"],
            registry=registry,
        )
        self.ready = Gauge("springtide_ready", "1 while /readyz answers 200.", registry=registry)
        registry.register(_CgroupMemory())
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def show_precision(self, outcome: Outcome) -> None:
        """Called once, when the model is loaded."""
        self.precision.labels(outcome.asked, outcome.used).set(1)
        if outcome.drop is not None:
            self.precision_drop.labels(outcome.asked).set(outcome.drop)


class _CgroupMemory(Collector):
    """Read when scraped; a value that the kernel doesn't give is left out rather than 0."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        values = {
            "springtide_memory_limit_bytes": ("Memory limit of the cgroup.", cgroup.memory_limit()),
            "springtide_memory_usage_bytes": ("Memory use of the cgroup, page cache included.", cgroup.memory_usage()),
        }
        for name, (help_text, value) in values.items():
            if value is not None:
                yield GaugeMetricFamily(name, help_text, value=value)
