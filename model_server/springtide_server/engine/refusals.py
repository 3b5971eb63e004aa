"""What a client is told that an engine refuses or gives up, by reason."""

import math
from collections.abc import Callable

from springtide_server.errors import RequestError

MAX_RETRY_SECONDS = 60
POLICY_RETRY_SECONDS = 10  # a policy outlives a queue
TYPES = {413: "invalid_request_error", 429: "rate_limit_error", 504: "timeout_error"}
REFUSALS = {
    "queue_full": (429, "queue_full", "The server's queue is full; send the request again later"),
    "shed": (429, "shed", "The server is busy and sheds requests of this priority; send the request again later"),
    "shed_by_policy": (429, "shed_by_policy", "Requests of this priority are refused for now; send it again later"),
    "evicted": (429, "evicted", "The request gave its place to one of a better priority; send it again later"),
    "late": (429, "deadline_unreachable", "The answer would come after the request's deadline; send it again later"),
    "deadline": (504, "deadline_exceeded", "The request's deadline passed before it was computed; nothing was done"),
    "out_of_memory": (413, "out_of_memory", "An input did not fit into the server's memory; send a shorter one"),
    "too_large": (413, "request_too_large", "The request has more tokens than the whole queue may hold; split it"),
}


def refusal(reason: str, wait: Callable[[], float]) -> RequestError:
    """For a reason of REFUSALS; `wait` predicts the seconds that the request would wait, for Retry-After."""
    status, code, message = REFUSALS[reason]
    if status != 429:
        return RequestError(status, message, type=TYPES[status], code=code)
    # Not 503: a gateway counts that against the replica, and ejecting one under load moves the load to the others.
    least = POLICY_RETRY_SECONDS if reason == "shed_by_policy" else 1
    retry = min(MAX_RETRY_SECONDS, max(least, math.ceil(wait())))
    return RequestError(429, message, type=TYPES[429], code=code, retry_after_seconds=retry)
