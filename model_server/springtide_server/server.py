"""The process: listens first, loads while it listens, and leaves without dropping a request."""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from springtide_server.app import ModelApp
from springtide_server.engine.serial import SerialEngine
from springtide_server.errors import ModelError
from springtide_server.metrics import Metrics
from springtide_server.protocol import Task

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What the command line says. Times are in seconds, max_queue in requests."""

    model: Path
    served_model_name: str
    task: Task
    dtype: str
    host: str
    port: int
    drain_seconds: float
    shutdown_seconds: float
    max_queue: int


class _Uvicorn(uvicorn.Server):
    """uvicorn without its signal handlers: ours know of draining."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve until a signal ends it; raises ModelError when the model can't be loaded."""
    fields = {"port": listener.getsockname()[1], "model": settings.served_model_name, "task": settings.task}
    log.info("listening", extra={"fields": fields})
    asyncio.run(_serve(settings, listener))


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on; raises OSError."""
    if ":" in host:
        return socket.create_server((host, port), family=socket.AF_INET6, backlog=1024, dualstack_ipv6=host == "::")
    return socket.create_server((host, port), backlog=1024)


async def _serve(settings: Settings, listener: socket.socket) -> None:
    metrics = Metrics()
    engine = SerialEngine(settings.model, settings.task, settings.dtype, settings.max_queue, metrics)
    app = ModelApp(settings.served_model_name, settings.task, engine, metrics)
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
