"""The forecaster as a process."""

import asyncio

import pytest
from kubernetes.aio import client

from springtide.clients.kubernetes import KubernetesCluster
from springtide.clients.prometheus import Prometheus
from springtide.forecaster.memory import Memory
from springtide.forecaster.metrics import Fault, Metrics
from springtide.forecaster.run import Options, _Process


async def test_an_error_of_its_own_is_counted_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    heard, stop = asyncio.Event(), asyncio.Event()

    class Told(Metrics):
        def failed(self, fault: Fault) -> None:
            super().failed(fault)
            heard.set()

    metrics = Told()
    cluster = KubernetesCluster(client.ApiClient(client.Configuration()), metrics.requested)
    process = _Process(Options(Prometheus("http://127.0.0.1:9")), cluster, metrics, stop)
    monkeypatch.setattr(Memory, "look_for_checkpoint", lambda memory: 1 / 0)
    task = asyncio.create_task(process._forecast())
    await asyncio.wait_for(heard.wait(), 10)
    assert not task.done()
    stop.set()
    await task
    await cluster.close()
    faults = {"fault": "InternalError"}
    assert metrics.registry.get_sample_value("springtide_forecaster_faults_total", faults) == 1
    assert "ZeroDivisionError" in caplog.text
