"""Answers of Prometheus as the tests of the signals write them."""

from collections.abc import Mapping

from springtide.signals.answers import Answer, Sample
from springtide.signals.records import RECORDS, RESOURCES
from springtide.signals.values import Key, Pool, Signals

NOW = 1_800_000_000.0
CHAT = Key("team-a", "chat", "gpu")
GATEWAY = Key("team-a", "chat")


def sample(
    pod: str, value: float, *, key: Key = CHAT, at: float = NOW, source: str = "pod", resource: str = ""
) -> Sample:
    labels = {"namespace": key.namespace, "service": key.service, "pool": key.pool, "pod": pod, "source": source}
    if resource:
        labels["resource"] = resource
    return Sample({name: text for name, text in labels.items() if text}, value, at)


def answers(
    signals: Mapping[str, Mapping[str, float]], *, ages: Mapping[str, float] | None = None, key: Key = CHAT
) -> dict[str, Answer]:
    """What Prometheus answers for one pool: values by signal and pod; pods without an age were scraped 4 s ago."""
    pods = {pod for values in signals.values() for pod in values} | set(ages or {})
    times = {pod: NOW - (ages or {}).get(pod, 4.0) for pod in sorted(pods)}
    made: dict[str, Answer] = dict.fromkeys(RECORDS, ())
    made["scraped"] = tuple(sample(pod, time, key=key) for pod, time in times.items())
    for name, values in signals.items():
        record, resource = ("use", name) if name in RESOURCES else (name, "")
        before = made[record]
        assert isinstance(before, tuple)
        made[record] = before + tuple(sample(pod, value, key=key, resource=resource) for pod, value in values.items())
    return made


def pool_of(*pods: str, typical: Mapping[str, float] | None = None) -> Pool:
    """A pool whose pods have been ready for an hour."""
    return Pool(dict.fromkeys(pods, 3600.0), typical or {})


def reasons(signals: Signals) -> list[str]:
    return [doubt.reason for doubt in signals.doubts]


def value_of(signals: Signals, name: str) -> float | None:
    reading = signals.readings.get(name)
    return None if reading is None else reading.value
