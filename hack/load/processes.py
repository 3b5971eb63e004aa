"""Running a load: in this process, or in several that each send a part and whose counts are added up."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any

from hack.load.options import Options
from hack.load.record import Record
from hack.load.report import report, write_timeline
from hack.load.sender import Run, Shard, Signals
from hack.load.targets import Target, resolve
from hack.shell import Failure

Report = dict[str, Any]
_START_SECONDS = 120
"""how long processes may take to draw their schedules"""


def run(options: Options, stop: Callable[[], int] = lambda: 0) -> Report:
    """Send the load and return the report. `stop` is asked: 1 ends the sending, 2 the waiting too.

    Raises Failure for options and targets that are refused; nothing is sent then.
    """
    targets, whole = _prepare(options)
    if options.processes == 1:
        return _told(options, targets, _here(whole, stop), 0)
    return _told(options, targets, *_apart(options, targets, stop))


class Background:
    """A load beside something else, in processes of its own: `with Background(options) as load: ...; load.finish()`."""

    def __init__(self, options: Options) -> None:
        """Refuse at once what would be refused.

        Raises Failure.
        """
        self._options = options
        self._targets, _ = _prepare(options)
        self._stop = 0
        self._started = threading.Event()
        self._result: tuple[Record, int] | Exception = Failure("the load has not ended")
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Background:
        self._thread.start()
        self._started.wait(_START_SECONDS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop = max(self._stop, 2)
        self._thread.join()

    def finish(self) -> Report:
        """End the sending, wait for the answers under way, and return the report."""
        self._stop = max(self._stop, 1)
        return self.wait()

    def wait(self) -> Report:
        """Wait until the run ends by itself, and return the report."""
        self._thread.join()
        if isinstance(self._result, Exception):
            raise self._result
        return _told(self._options, self._targets, *self._result)

    def _work(self) -> None:
        try:
            self._result = _apart(self._options, self._targets, lambda: self._stop, self._started.set)
        except Exception as error:
            self._result = error
        finally:
            self._started.set()


def _prepare(options: Options) -> tuple[list[Target], Run]:
    options.verify()
    targets = [resolve(url) for url in options.targets]
    whole = Run(options, targets, Shard())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = min(options.max_connections, options.concurrency or options.max_connections) + 200
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise Failure(f"--max-connections {options.max_connections}: this process may open {hard} files at most")
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return targets, whole


def _told(options: Options, targets: list[Target], record: Record, lost: int) -> Report:
    if options.timeline is not None:
        write_timeline(options.timeline, record)
    return report(options, targets, record, lost)


def _here(whole: Run, stop: Callable[[], int]) -> Record:
    failures = 0

    def fail(more: int) -> int:
        nonlocal failures
        failures += more
        return failures

    signals = Signals(lambda: stop() >= 1, lambda: stop() >= 2, fail)
    return asyncio.run(whole.drive(time.monotonic() + 0.02, signals))


def _apart(
    options: Options, targets: list[Target], stop: Callable[[], int], started: Callable[[], None] = lambda: None
) -> tuple[Record, int]:
    """Run in processes; return the sum and how many of them were lost."""
    context = multiprocessing.get_context("spawn")
    told, failures = context.Value("i", 0), context.Value("i", 0)
    processes: list[SpawnProcess] = []
    pipes: list[Connection] = []
    try:
        for index in range(options.processes):
            ours, theirs = context.Pipe()
            shard = Shard(index, options.processes)
            process = context.Process(
                target=_child, args=(options, targets, shard, theirs, told, failures), daemon=True
            )
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        if len(_receive(pipes, time.monotonic() + _START_SECONDS, stop, told)) < len(pipes):
            raise Failure("a process of the generator did not start")
        start = time.monotonic() + 0.1
        for pipe in pipes:
            pipe.send(start)
        started()
        deadline = start + options.seconds + options.grace + 10
        records = _receive(pipes, deadline, stop, told)
    finally:
        for process in processes:
            process.kill()
            process.join()
    whole = Record()
    for record in records:
        whole.merge(record)
    return whole, len(pipes) - len(records)


def _receive(pipes: list[Connection], deadline: float, stop: Callable[[], int], told: Synchronized[int]) -> list[Any]:
    """Return one message of each process that sends one in time; pass on what it is told meanwhile."""
    found: list[Any] = []
    left = list(pipes)
    while left and time.monotonic() < deadline:
        told.value = stop()
        for pipe in wait(left, 0.05):
            assert isinstance(pipe, Connection)  # noqa: S101
            left.remove(pipe)
            with contextlib.suppress(EOFError, ConnectionError):
                found.append(pipe.recv())
    return found


def _child(
    options: Options,
    targets: list[Target],
    shard: Shard,
    pipe: Connection,
    told: Synchronized[int],
    failures: Synchronized[int],
) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # the first process decides, and ends this one

    def fail(more: int) -> int:
        with failures.get_lock():
            failures.value += more
            return int(failures.value)

    part = Run(options, targets, shard)
    pipe.send("ready")
    parent = os.getppid()

    def asked() -> int:
        return told.value if os.getppid() == parent else 2  # nobody is left who wants a report

    with contextlib.suppress(EOFError, BrokenPipeError):
        signals = Signals(lambda: asked() >= 1, lambda: asked() >= 2, fail)
        pipe.send(asyncio.run(part.drive(pipe.recv(), signals)))
