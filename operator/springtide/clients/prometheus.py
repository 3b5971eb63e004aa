"""Asking Prometheus: in a thread of its own, and never for longer than a deadline."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from springtide.api.errors import Invalid
from springtide.signals.answers import Answer, Failure, RangeAnswer, Sample, Series

DEADLINE_SECONDS = 5.0
# 10,000 pods with ten labels each are some 3 MB for each question.
MAX_BYTES = 64 << 20
# Threads that hang beyond their deadline: in a look-up of DNS, or in headers that come byte by byte.
_MAX_HUNG = 4
_CHUNK = 1 << 16
_LEAST_SECONDS = 0.01

Found = TypeVar("Found")
Ask = Callable[[PrometheusConnect], list[Any]]


class Prometheus:
    """A Prometheus, or what has its HTTP API.

    A thread for each round of questions asks them one after the other. When the deadline comes, whoever waits gets what
    there is, and the thread is left to its end; it keeps no process alive. Nothing is tried again here: the next round
    comes soon enough. `token_file` is read for each round, since tokens of ServiceAccounts change.
    """

    def __init__(
        self,
        url: str,
        *,
        token_file: Path | None = None,
        ca_file: Path | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Invalid(f"the URL of Prometheus is {url!r}; write it as http://HOST:PORT")
        self._url = url.rstrip("/")
        self._token_file = token_file
        self._ca_file = ca_file
        self._seconds = deadline_seconds
        self._late = Failure("TimedOut", f"no answer within {deadline_seconds:g} s")
        self._threads: list[threading.Thread] = []

    async def ask(self, questions: Mapping[str, str], at: float | None = None) -> dict[str, Answer]:
        """Return an answer for each named query, within the deadline. Never raises for what Prometheus does.

        `at` is the unix time that is asked about, by default now by Prometheus' clock.
        """
        parameters = {} if at is None else {"time": f"{at:.3f}"}
        asked: dict[str, Ask] = {name: _instant(query, parameters) for name, query in questions.items()}
        return await self._answers(asked, _sample)

    async def ask_range(self, query: str, first: int, last: int, step_seconds: int) -> RangeAnswer:
        """Return the values of a query from `first` to `last`, unix seconds, a step apart; on the same terms."""
        start, end = (datetime.fromtimestamp(at, UTC) for at in (first, last))

        def ask(connect: PrometheusConnect) -> list[Any]:
            return connect.custom_query_range(query, start, end, str(step_seconds))  # type: ignore[no-any-return]

        return (await self._answers({"range": ask}, _series))["range"]

    async def _answers(
        self, questions: Mapping[str, Ask], read: Callable[[Mapping[str, Any]], Found]
    ) -> dict[str, tuple[Found, ...] | Failure]:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= _MAX_HUNG:
            return dict.fromkeys(questions, Failure("TimedOut", f"{_MAX_HUNG} earlier rounds of questions hang still"))
        answers: dict[str, tuple[Found, ...] | Failure] = {}
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def work() -> None:
            try:
                self._ask_all(questions, read, answers)
            finally:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=work, name="prometheus", daemon=True)
        self._threads.append(thread)
        thread.start()
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), self._seconds)
        return {name: answers.get(name, self._late) for name in questions}

    def _ask_all(
        self,
        questions: Mapping[str, Ask],
        read: Callable[[Mapping[str, Any]], Found],
        answers: dict[str, tuple[Found, ...] | Failure],
    ) -> None:
        try:
            headers = {"Authorization": f"Bearer {self._token_file.read_text().strip()}"} if self._token_file else {}
        except (OSError, ValueError) as error:
            answers |= dict.fromkeys(questions, Failure("Unreachable", f"the token can't be read: {error}"))
            return
        session = _Session(time.monotonic() + self._seconds, self._ca_file)
        with PrometheusConnect(self._url, headers, session=session, retry=Retry(0, redirect=False)) as connect:
            for name, ask in questions.items():
                if (answer := _ask(connect, ask, read)) is not None:
                    answers[name] = answer


class _Session(requests.Session):
    """Reads an answer whole within a deadline and a size, however slowly it comes, and takes none but 200."""

    def __init__(self, deadline: float, ca_file: Path | None) -> None:
        super().__init__()
        # Neither proxies nor passwords out of the environment; a .netrc would take the place of the token.
        self.trust_env = False
        self.verify = str(ca_file) if ca_file else True
        self._deadline = deadline

    def request(self, *args: Any, **options: Any) -> requests.Response:
        options |= {"timeout": max(self._left(), _LEAST_SECONDS), "stream": True, "allow_redirects": False}
        try:
            with super().request(*args, **options) as response:
                response._content = self._body(response)  # where `content`, `text` and `json` look for what was read
        except requests.RequestException as error:
            # A time-out in the middle of an answer is called a broken connection.
            if self._left() < _LEAST_SECONDS:
                raise requests.Timeout("the deadline is over") from error
            raise
        if response.status_code != 200:
            raise _Status(response)
        return response

    def _left(self) -> float:
        return self._deadline - time.monotonic()

    def _body(self, response: requests.Response) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > MAX_BYTES:
                raise _Absurd(f"more than {MAX_BYTES >> 20} MiB")
            if self._left() < 0:
                raise requests.Timeout("the deadline is over")
        return bytes(body)


class _Absurd(Exception):
    pass


class _Status(Exception):
    def __init__(self, response: requests.Response) -> None:
        self.code = response.status_code
        try:
            said = str(json.loads(response.content)["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            said = " ".join(response.text[:200].split()) or response.reason
        super().__init__(f"HTTP {self.code}: {said}")


def _instant(query: str, parameters: Mapping[str, str]) -> Ask:
    return lambda connect: connect.custom_query(query, dict(parameters))


def _ask(
    connect: PrometheusConnect, ask: Ask, read: Callable[[Mapping[str, Any]], Found]
) -> tuple[Found, ...] | Failure | None:
    """Return the answer, None when the deadline came first."""
    try:
        return tuple(read(one) for one in ask(connect))
    except _Status as status:
        return Failure("Unauthorized" if status.code in {401, 403} else "Refused", str(status))
    except requests.exceptions.JSONDecodeError:
        return Failure("Malformed", "the answer is no JSON; is there a Prometheus at this URL?")
    except requests.Timeout:
        return None
    except OSError as error:  # what `requests` raises is one, and a file of authorities that isn't there
        return Failure("Unreachable", str(error))
    except (_Absurd, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return Failure("Malformed", f"not an answer of Prometheus: {type(error).__name__}: {error}")


def _sample(one: Mapping[str, Any]) -> Sample:
    at, value = one["value"]
    return Sample(_labels(one), float(value), float(at))


def _series(one: Mapping[str, Any]) -> Series:
    return Series(_labels(one), tuple((float(at), float(value)) for at, value in one["values"]))


def _labels(one: Mapping[str, Any]) -> Mapping[str, str]:
    labels: Mapping[str, str] = one["metric"]
    "".join(labels.values())  # raises TypeError unless all are texts
    return labels
