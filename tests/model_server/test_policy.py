"""The runtime policy: what its file may say, what acts when, and what a wrong file leaves as it was."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from springtide.manifests.batching import policy_map
from springtide_server import policy_file
from springtide_server.policy import RuntimePolicy, parse
from springtide_server.policy_file import MAX_BYTES, PolicyFile
from springtide_server.priorities import DEFAULTS, PriorityClass
from tests.model_server.volume import ConfigMapVolume
from tests.unit.samples import model_service
from tests.unit.specs import GOOD, MODEL

BASE = RuntimePolicy(DEFAULTS, 64, 5, 90)


def parsed(**policy: Any) -> RuntimePolicy:
    return parse(json.dumps(policy).encode(), BASE)


def test_what_is_not_said_is_the_command_lines() -> None:
    assert parsed() == BASE
    assert parsed(batching={}, shedClasses=[]) == BASE
    assert parsed(batching={"maxQueueDelayMilliseconds": 0}) == RuntimePolicy(DEFAULTS, 64, 0, 90)


def test_everything_that_can_be_said() -> None:
    said = parsed(
        priorities=[{"name": "gold", "reservedPercent": 30}, {"name": "bulk", "sheddable": True}],
        batching={"maxBatchSize": 8, "maxQueueDelayMilliseconds": 20, "targetMemoryPercent": 50},
        maxOutputTokens=16,
        shedClasses=["bulk"],
        featuresOff=["Logprobs", "ResultCache"],
    )
    classes = (PriorityClass("gold", 30), PriorityClass("bulk", sheddable=True))
    assert said == RuntimePolicy(classes, 8, 20, 50, 16, frozenset({"bulk"}), frozenset({"Logprobs", "ResultCache"}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file: invalid JSON"),
        ("[]", "the file: "),
        ("\xff", "the file: invalid JSON"),
        ('{"batch": {}}', "batch: is not known; leave it out"),
        ('{"batching": {"maxBatchSize": 0}}', "batching.maxBatchSize: input should be greater than or equal to 1"),
        ('{"batching": {"maxBatchSize": "8"}}', "batching.maxBatchSize: input should be a valid integer"),
        ('{"batching": {"max_batch_size": 8}}', "batching.max_batch_size: is not known"),
        ('{"batching": {"maxQueueDelayMilliseconds": -1}}', "batching.maxQueueDelayMilliseconds: "),
        ('{"batching": {"targetMemoryPercent": 101}}', "batching.targetMemoryPercent: "),
        ('{"priorities": []}', "priorities: there are 0"),
        ('{"priorities": [{}]}', r"priorities\[0\].name: is required"),
        ('{"priorities": [{"name": "A"}]}', r"priorities\[0\].name: "),
        ('{"priorities": [{"name": "a\\n"}]}', r"priorities\[0\].name: "),
        ('{"priorities": [{"name": "a"}, {"name": "a"}]}', "priorities: two priorities have the same name"),
        ('{"priorities": [{"name": "a", "reservedPercent": 101}]}', r"priorities\[0\].reservedPercent: "),
        ('{"priorities": [{"name": "a", "sheddable": 1}]}', r"priorities\[0\].sheddable: "),
        (
            '{"priorities": [{"name": "a", "reservedPercent": 60}, {"name": "b", "reservedPercent": 41}]}',
            "priorities: the priorities reserve more than 100 percent",
        ),
        ('{"maxOutputTokens": 0}', "maxOutputTokens: "),
        (
            '{"shedClasses": ["standard", "gold"]}',
            r"shedClasses\[1\]: there is no priority 'gold'; name one of critical",
        ),
        ('{"priorities": [{"name": "a"}], "shedClasses": ["standard"]}', r"shedClasses\[0\]: .* name one of a"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        parse(text.encode("latin-1"), BASE)


@pytest.mark.parametrize("said", [spec for spec in GOOD if "priorities" in spec], ids=str)
def test_what_the_operator_writes_is_understood(said: dict[str, Any]) -> None:
    spec = {"model": MODEL, "pools": [{"name": "cpu"}]} | said
    (text,) = policy_map(model_service(spec))["data"].values()
    policy, batching = parse(text.encode(), BASE), said.get("batching", {})
    assert policy.max_batch_size == batching.get("maxBatchSize", BASE.max_batch_size)
    assert policy.max_queue_delay_milliseconds == batching.get(
        "maxQueueDelayMilliseconds", BASE.max_queue_delay_milliseconds
    )
    assert policy.target_memory_percent == batching.get("targetMemoryPercent", BASE.target_memory_percent)
    classes = [
        PriorityClass(one["name"], one.get("reservedPercent", 0), one.get("sheddable", False))
        for one in said["priorities"]
    ]
    assert list(policy.priorities) == (classes or list(BASE.priorities))


class Watched:
    """A policy file, and what came of it."""

    def __init__(self, file: Path) -> None:
        self.applied: list[RuntimePolicy] = []
        self.registry = CollectorRegistry()
        self.policy_file = PolicyFile(file, BASE, self.applied.append, self.registry)

    @property
    def valid(self) -> float | None:
        return self.registry.get_sample_value("springtide_policy_valid")

    @property
    def hashes(self) -> list[str]:
        (family,) = (one for one in self.registry.collect() if one.name == "springtide_policy_info")
        return [sample.labels["hash"] for sample in family.samples]


@pytest.fixture
def volume(tmp_path: Path) -> ConfigMapVolume:
    return ConfigMapVolume(tmp_path / "volume")


@pytest.fixture
def watched(volume: ConfigMapVolume) -> Watched:
    return Watched(volume.file)


def test_a_file_that_is_not_there_yet_is_no_fault(volume: ConfigMapVolume, watched: Watched) -> None:
    watched.policy_file.look()
    assert (watched.applied, watched.valid, watched.hashes) == ([], 1, [])
    volume.write(maxOutputTokens=8)
    watched.policy_file.look()
    watched.policy_file.look()
    assert [one.max_output_tokens for one in watched.applied] == [8], "what is the same is applied once"
    assert (watched.valid, len(watched.hashes)) == (1, 1)


def test_the_last_good_content_acts(
    volume: ConfigMapVolume, watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    volume.write(maxOutputTokens=8)
    watched.policy_file.look()
    good = watched.hashes
    spoilers: list[Callable[[], None]] = [
        lambda: volume.write(maxOutputTokens=-8),
        lambda: volume.write_text("{"),
        lambda: volume.write_text(" " * (MAX_BYTES + 1)),
        volume.remove,
        volume.file.mkdir,
    ]
    for spoil in spoilers:
        spoil()
        watched.policy_file.look()
        assert (len(watched.applied), watched.valid, watched.hashes) == (1, 0, good)
    reasons = [record.__dict__["fields"]["reason"] for record in caplog.records]
    assert reasons[0].startswith("maxOutputTokens: ") and "more than" in reasons[2]
    assert (reasons[3], reasons[4]) == ("the file is gone", "can't be read: Is a directory")
    volume.file.rmdir()
    volume.write()
    watched.policy_file.look()
    assert (watched.applied[1:], watched.valid) == ([BASE], 1)
    assert watched.hashes != good and len(watched.hashes) == 1


async def test_watching_goes_on_after_a_fault_of_ours(
    volume: ConfigMapVolume, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(policy_file, "PERIOD_SECONDS", 0.01)
    applied = asyncio.Event()

    def apply(policy: RuntimePolicy) -> None:
        if policy.max_output_tokens == 1:
            raise RuntimeError("a fault of ours")
        applied.set()

    watching = asyncio.create_task(PolicyFile(volume.file, BASE, apply, CollectorRegistry()).watch())
    async with asyncio.timeout(60):
        volume.write(maxOutputTokens=1)
        while not caplog.records:  # noqa: ASYNC110  # a log wakes nobody
            await asyncio.sleep(0.01)
        volume.write(maxOutputTokens=2)
        await applied.wait()
    watching.cancel()
    assert caplog.records[0].exc_info
