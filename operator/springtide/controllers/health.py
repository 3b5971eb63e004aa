"""The endpoints that the kubelet and Prometheus ask.

/healthz while the operator works, /readyz once it has read the cluster or stands by, /metrics at any time.
"""

import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

Check = Callable[[], str]
"""Returns what is wrong; empty when nothing is."""

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


async def serve_health(
    port: int, healthy: Check, ready: Check, metrics: Callable[[], bytes], state: Callable[[], str] = lambda: "ok"
) -> web.AppRunner:
    """Serve until the runner is cleaned up; port 0 is any free one. Any answer shows that the event loop turns.

    `state` is what is said while nothing is wrong.
    """
    app = web.Application()
    app.add_routes(
        [
            web.get("/healthz", _answer(healthy, state)),
            web.get("/readyz", _answer(ready, state)),
            web.get("/metrics", _page(metrics)),
        ]
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    # One socket for both families: with two, any free port would be another one for each.
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listening = socket.create_server(("", port), family=family, backlog=128, dualstack_ipv6=dual)
    await web.SockSite(runner, listening).start()
    return runner


def _answer(check: Check, state: Callable[[], str]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        wrong = check()
        return web.Response(text=wrong or state(), status=500 if wrong else 200)

    return answer


def _page(text: Callable[[], bytes]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def page(request: web.Request) -> web.Response:
        return web.Response(body=text(), headers={"Content-Type": _TEXT_FORMAT})

    return page
