"""Waiting for tasks, and ending them."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any


async def until(event: asyncio.Event, work: Coroutine[Any, Any, Any]) -> Any:
    """Return what some work returns; None when the event comes first, and then the work is cut off."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


async def first(coroutine: Coroutine[Any, Any, Any], task: asyncio.Task[None]) -> None:
    """Return when one of the two is over."""
    waiting = asyncio.ensure_future(coroutine)
    await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when all of them are over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def failure(done: set[asyncio.Task[Any]]) -> str:
    """Return which task failed, and how; one that merely ended is a watch."""
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            return f"{task.get_name()} failed: {type(error).__name__}: {error}"
    return "its watches ended"
