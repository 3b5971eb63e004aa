"""When the client leaves before its answer."""

from starlette.requests import ClientDisconnect, Request


async def left(request: Request) -> None:
    """Wait for that, then raise ClientDisconnect. Only once the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect
