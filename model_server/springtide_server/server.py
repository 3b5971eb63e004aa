"""The process: listens first, loads while it listens, and leaves without dropping a request."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from springtide_server.app import AppOptions, ModelApp
from springtide_server.cache.options import StoreSettings
from springtide_server.engine.batch import BatchEngine
from springtide_server.engine.batching import Limits
from springtide_server.engine.engine import Engine, QueueSettings, loader
from springtide_server.engine.generate import GenerateEngine
from springtide_server.engine.memory import measured
from springtide_server.engine.settings import GenerateSettings
from springtide_server.errors import ModelError
from springtide_server.metrics import Metrics
from springtide_server.policy import RuntimePolicy
from springtide_server.policy_file import PolicyFile
from springtide_server.precision import PrecisionPolicy
from springtide_server.priorities import PriorityClass
from springtide_server.protocol import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the command line says. Times are in seconds unless the name has a unit, max_queue is in requests."""

    model: Path
    served_model_name: str
    task: Task
    precision: PrecisionPolicy
    host: str
    port: int
    drain_seconds: float
    shutdown_seconds: float
    max_queue: int
    max_queue_tokens: int
    request_timeout_milliseconds: float
    max_batch_size: int
    max_batch_tokens: int
    max_queue_delay_milliseconds: float
    target_memory_percent: int
    max_sequences: int
    max_step_tokens: int
    kv_cache_mebibytes: int
    kv_host_mebibytes: int
    prefix_cache: bool
    priorities: Sequence[PriorityClass]
    model_revision: str
    hang_seconds: float
    load_report: bool
    enable_profiling: bool
    result_cache: StoreSettings | None
    policy: Path | None

    @property
    def runtime_policy(self) -> RuntimePolicy:
        """What acts where the policy file says nothing."""
        # Of texts that are generated, the engine knows how many the device can take.
        most = self.max_batch_size if self.task == "Embed" else self.max_sequences or sys.maxsize
        return RuntimePolicy(self.priorities, most, self.max_queue_delay_milliseconds, self.target_memory_percent)


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: ours know of draining."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until a signal ends it; raises ModelError when the model can't be loaded."""
    fields = {"port": listener.getsockname()[1], "model": settings.served_model_name, "task": settings.task}
    log.info("listening", extra={"fields": fields})
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:  # uvloop's
        runner.run(_serve(settings, listener))


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; raises OSError."""
    if ":" in host:
        family = socket.AF_INET6
        listener = socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=host == "::")
    else:
        listener = socket.create_server((host, port), backlog=1024)
    # For its connections, which inherit it. asyncio sets it on sockets that it makes itself. Without it a body (or an
    # event of a stream) waits for the client to acknowledge what was sent before: 40 ms on a kept connection.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _engine(settings: Settings, metrics: Metrics) -> Engine:
    generate = GenerateSettings(
        settings.max_sequences,
        settings.max_step_tokens,
        settings.kv_cache_mebibytes,
        settings.kv_host_mebibytes,
        settings.prefix_cache,
        settings.target_memory_percent,
    )
    load = loader(settings.model, settings.task, settings.precision, generate, metrics.show_precision)
    name = str(settings.model)
    queue = QueueSettings(settings.priorities, settings.max_queue, settings.max_queue_tokens)
    if settings.task == "Generate":
        return GenerateEngine(name, load, queue, metrics)
    if settings.max_queue < settings.max_batch_size:
        fields = {"max_queue": settings.max_queue, "max_batch_size": settings.max_batch_size}
        log.warning("batches of small requests can't be full: fewer may wait", extra={"fields": fields})
    limits = Limits(settings.max_batch_size, settings.max_batch_tokens, settings.max_queue_delay_milliseconds / 1000)
    return BatchEngine(
        name, load, queue, limits, metrics, lambda device: measured(device, settings.target_memory_percent)
    )


async def _serve(settings: Settings, listener: socket.socket) -> None:
    metrics = Metrics()
    engine = _engine(settings, metrics)
    timeout = settings.request_timeout_milliseconds / 1000 or None
    cache = None
    if settings.result_cache is not None:
        from springtide_server.cache.cache import ResultCache  # Redis' client, which others needn't wait for

        cache = ResultCache(settings.result_cache, settings.task, metrics.registry)
    options = AppOptions(timeout, settings.hang_seconds or None, settings.load_report, settings.enable_profiling)
    app = ModelApp(settings.served_model_name, settings.task, engine, metrics, options, cache)
    config = uvicorn.Config(
        app.asgi,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
    )
    server = _Uvicorn(config)
    loop = asyncio.get_running_loop()
    failure: list[ModelError] = []
    tasks: set[asyncio.Task[None]] = set()  # the loop itself forgets those that nobody holds

    async def leave() -> None:
        if engine.state == "ready":  # otherwise nobody sends requests here yet
            log.info("draining", extra={"fields": {"seconds": settings.drain_seconds}})
            await asyncio.sleep(settings.drain_seconds)
        requests = metrics.registry.get_sample_value("springtide_requests_in_flight")
        log.info("closing", extra={"fields": {"requests": int(requests or 0)}})
        server.should_exit = True

    def on_sigterm() -> None:
        if not app.draining:  # a second one changes nothing: the deadline runs already
            app.draining = True
            tasks.add(loop.create_task(leave()))

    def on_sigint() -> None:
        app.draining = server.should_exit = True

    def on_failure(error: ModelError) -> None:
        failure.append(error)
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    loop.add_signal_handler(signal.SIGTERM, on_sigterm)
    loop.add_signal_handler(signal.SIGINT, on_sigint)
    if settings.policy is not None:
        file = PolicyFile(settings.policy, settings.runtime_policy, engine.apply, metrics.registry)
        file.look()
        tasks.add(loop.create_task(file.watch()))
    engine.start(on_failure)
    if cache is not None:
        tasks.add(loop.create_task(cache.identify(settings.model, settings.model_revision)))
    await server.serve(sockets=[listener])
    if failure:
        raise failure[0]
