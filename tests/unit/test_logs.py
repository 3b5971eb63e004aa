"""Every record is one line, and one about a ModelService tells which."""

import asyncio
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from springtide.api.errors import Forbidden
from springtide.cli.logs import JsonFormatter
from springtide.clients.cluster import MODEL_SERVICE
from springtide.controllers.cache import Cache
from springtide.controllers.queue import WorkQueue
from springtide.controllers.reconcile import Reconciler
from springtide.controllers.worker import work
from tests.unit.samples import SETTINGS
from tests.unit.test_reconcile import KEY, SPEC, MemoryCluster, written


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[dict[str, Any]] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        assert "\n" not in line
        self.records.append(json.loads(line))


async def test_each_record_of_a_reconcile_tells_key_and_generation(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines, cluster, cache = Lines(), MemoryCluster(), Cache()
    logger = logging.getLogger("springtide")
    caplog.set_level(logging.DEBUG, logger.name)
    logger.addHandler(lines)
    cluster.failures["Service"] = Forbidden("exceeded quota")
    cache.put(MODEL_SERVICE, written(SPEC))
    queue: WorkQueue[tuple[str, str]] = WorkQueue()
    reconciler = Reconciler(cluster, cache, SETTINGS, lambda: "")
    worker = asyncio.create_task(work(queue, reconciler, lambda seconds, error: None))
    queue.add(KEY)
    await asyncio.sleep(0.05)
    monkeypatch.setattr("springtide.controllers.planning.build", None)
    queue.add(KEY)
    await asyncio.sleep(0.05)
    worker.cancel()
    logger.removeHandler(lines)
    messages = [record["message"] for record in lines.records]
    assert messages[0] == "applied ServiceAccount chat-model-server"
    assert "exceeded quota" in messages
    assert "TypeError" in lines.records[messages.index("reconcile failed")]["exception"]
    assert {(record["key"], record["generation"]) for record in lines.records} == {("team-a/chat", 2)}
    logger.addHandler(lines)
    logger.warning("of nothing in particular")
    logger.removeHandler(lines)
    assert "key" not in lines.records[-1]


def test_a_record_of_kopf_tells_the_key() -> None:
    record = logging.makeLogRecord(
        {"msg": "failed", "k8s_ref": {"kind": "ModelService", "namespace": "a", "name": "b"}}
    )
    assert json.loads(JsonFormatter().format(record))["key"] == "a/b"


def test_nothing_but_records_is_written() -> None:
    program = (
        "import logging, warnings\n"
        "from springtide.cli.logs import configure_logs\n"
        "configure_logs('info')\n"
        "warnings.warn('a\\nb')\n"
        "logging.info('here', stack_info=True)\n"
        "logging.getLogger('kopf.x').error('Request attempt #1/9 failed; will retry: GET')\n"
        "logging.getLogger('kopf.x').error('Request attempt #9/9 failed; escalating: GET')\n"
        "raise ValueError('c\\nd')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    warned, here, retried, given_up, ended = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.returncode == 1
    assert "a\nb" in warned["message"]
    assert (retried["level"], given_up["level"]) == ("warning", "error")
    assert here["stack"].startswith("Stack")
    assert ended["exception"].endswith("ValueError: c\nd")
