"""The process: listens first, loads while it listens, and leaves without dropping a request."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from springtide_server.app import ModelApp
from springtide_server.engine.batch import BatchEngine
from springtide_server.engine.batching import Limits
from springtide_server.engine.engine import Engine, QueueSettings, loader
from springtide_server.engine.memory import measured
from springtide_server.engine.serial import SerialEngine
from springtide_server.errors import ModelError
from springtide_server.metrics import Metrics
from springtide_server.priorities import PriorityClass
from springtide_server.protocol import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the command line says. Times are in seconds unless the name has a unit, max_queue is in requests."""

    model: Path
    served_model_name: str
    task: Task
    dtype: str
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
    priorities: Sequence[PriorityClass]


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
    name, load = str(settings.model), loader(settings.model, settings.task, settings.dtype)
    queue = QueueSettings(settings.priorities, settings.max_queue, settings.max_queue_tokens)
    if settings.task == "Generate":
        return SerialEngine(name, load, queue, metrics)
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
    app = ModelApp(
        settings.served_model_name, settings.task, engine, metrics, settings.request_timeout_milliseconds / 1000 or None
    )
    config = uvicorn.Config(
        app.asgi,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.shutdown_seconds)),
    )
    server = _Uvicorn(config)
    loop = asyncio.get_running_loop()
    failure: list[ModelError] = []
    leaving: set[asyncio.Task[None]] = set()

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
            leaving.add(loop.create_task(leave()))

    def on_sigint() -> None:
        app.draining = server.should_exit = True

    def on_failure(error: ModelError) -> None:
        failure.append(error)
        loop.call_soon_threadsafe(setattr, server, "should_exit", True)

    loop.add_signal_handler(signal.SIGTERM, on_sigterm)
    loop.add_signal_handler(signal.SIGINT, on_sigint)
    engine.start(on_failure)
    await server.serve(sockets=[listener])
    if failure:
        raise failure[0]
