"""A trace of what the process computes, by PyTorch's profiler, while it goes on serving."""

import asyncio
import gzip
import os
import shutil
import tempfile
import time
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from springtide_server.errors import RequestError

PATH = "/debug/profile"
MAX_SECONDS = 30
# The profiler keeps what it sees in memory: it ends early when the process has grown by so much.
MAX_GROWTH_BYTES = 256 * 1024 * 1024
LOOK_SECONDS = 0.1


class Profiler:
    """One trace at a time."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._running = False

    async def route(self, request: Request) -> Response:
        """GET /debug/profile?seconds=N: Chrome's trace format, gzipped."""
        if not self._enabled:
            raise RequestError(403, "Profiling is off; start the server with --enable-profiling", code="profiling_off")
        text = request.query_params.get("seconds", "5")
        if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_SECONDS):
            message = f"seconds: should be a whole number from 1 to {MAX_SECONDS}"
            raise RequestError(400, message, param="seconds")
        if self._running:
            raise RequestError(409, "A profile is being taken; ask again when it is done", code="profile_running")
        self._running = True
        try:
            trace, seconds = await asyncio.to_thread(_record, int(text))
        finally:
            self._running = False
        headers = {"X-Profile-Seconds": f"{seconds:.1f}"}
        away = BackgroundTask(trace.unlink, missing_ok=True)
        return FileResponse(trace, media_type="application/gzip", filename=trace.name, headers=headers, background=away)


def _record(seconds: int) -> tuple[Path, float]:
    """The trace's file and the seconds it covers. Blocks for as long, and for the writing."""
    import torch
    from torch._C._profiler import _ExperimentalConfig
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    start, before = time.monotonic(), _resident_bytes()
    # This thread computes nothing; the engine's does.
    with profile(activities=activities, experimental_config=_ExperimentalConfig(profile_all_threads=True)) as recorded:
        while (passed := time.monotonic() - start) < seconds and _resident_bytes() - before < MAX_GROWTH_BYTES:
            time.sleep(min(LOOK_SECONDS, seconds - passed))
    covered = time.monotonic() - start
    handle, name = tempfile.mkstemp(prefix="springtide-profile-", suffix=".json.gz")
    os.close(handle)
    with tempfile.TemporaryDirectory(prefix="springtide-profile-") as folder:
        plain = Path(folder, "trace.json")
        recorded.export_chrome_trace(str(plain))
        with plain.open("rb") as source, gzip.open(name, "wb", compresslevel=3) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return Path(name), covered


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
