"""The endpoints that the kubelet asks: /healthz while the operator works, /readyz once it has read the cluster."""

from collections.abc import Awaitable, Callable

from aiohttp import web

Check = Callable[[], str]
"""Returns what is wrong; empty when nothing is."""


async def serve_health(port: int, healthy: Check, ready: Check) -> web.AppRunner:
    """Serve both checks until the runner is cleaned up. An answer at all shows that the event loop turns."""
    app = web.Application()
    app.add_routes([web.get("/healthz", _answer(healthy)), web.get("/readyz", _answer(ready))])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        wrong = check()
        return web.Response(text=wrong or "ok", status=500 if wrong else 200)

    return answer
