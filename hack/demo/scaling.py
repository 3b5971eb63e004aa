"""Replicas that follow traffic: by live metrics in `make demo`, ahead of a foreseen rise in `make demo-scaling`.

The traffic of the second is a day that is replayed 24 times as fast, hour after hour. A forecaster that has just been
installed knows no yesterday, so Prometheus is given the past week of these hours, as if they had been scraped: the
forecaster reads them as it reads any past. What comes then is sent, measured, forecast and scaled for real.
"""

from __future__ import annotations

import csv
import json
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import yaml

from hack.cluster import process, prometheus
from hack.cluster.control_plane import kubectl
from hack.cluster.spec import Spec
from hack.load import Background, Options
from hack.load.processes import Report
from hack.shell import Failure, say

from .address import address
from .install import SYSTEM

DAY = 86_400
SPEED = 24
CYCLE = DAY // SPEED  # seconds
HISTORY_DAYS = 8
# Requests a second over a day, as shares of it: one replica serves the night, the rest needs more.
NIGHT, NOON = 3.0, 10.0
MORNING = 0.25
SHAPE = ((0.0, NIGHT), (MORNING, NIGHT), (0.29, NOON), (0.6, 0.9 * NOON), (0.8, NIGHT), (1.0, NIGHT))
# Until the load is measured in full: a rate looks back for a minute, a scrape and an evaluation come on top.
MEASURED_SECONDS = 75
FADE_SECONDS = 15
# Until Prometheus and then the forecaster have read the past, and two minutes in which the rise is near.
FORESEEN_SECONDS = 165


def follow(spec: Spec, namespace: str, name: str = "tide") -> float:
    """Send more than one replica should serve; return the seconds until a second one is ready."""
    to = serve(spec, namespace, name)
    options = Options((to,), kind="embeddings", model=name, rate=NOON, seconds=300, connections="fresh")
    started = time.monotonic()
    with Background(options) as load:
        second = f"a second replica of {name} to be ready"
        process.wait_for(lambda: _ready(spec, namespace, name) > 1, second, 180)
        seconds = time.monotonic() - started
        report = load.finish()
    if report["requests"]["failed"]:
        raise Failure(f"{report['requests']['failed']} requests failed: {report['details']}")
    return seconds


def foresee(spec: Spec, namespace: str, name: str = "day", cpu: str = "1") -> tuple[float, Report]:
    """Replay the morning of a day; return how many seconds before the traffic the target rose, and what became of it.

    The less `cpu` a replica may use, the longer it loads, and the earlier the target has to rise. Raises Failure when
    no forecast made it rise before.

    A minute ago there was none at all, and after a rise from nothing live metrics alone ask for much headroom. So they
    are only observed until a forecast is there.
    """
    forecaster = ("deployment/springtide-forecaster", f"--namespace={SYSTEM}")
    kubectl(spec, "delete", "modelservice", name, f"--namespace={namespace}", "--ignore-not-found")
    # an earlier run had its rise at another minute
    prometheus.forget(spec, f'{{namespace="{namespace}",service="{name}"}}')
    applied = time.time()
    to = serve(spec, namespace, name, mode="Observe", cpu=cpu)
    begin = time.time()
    ramp = _next_minute(begin + MEASURED_SECONDS + FORESEEN_SECONDS + (begin - applied))
    with tempfile.TemporaryDirectory() as folder:
        trace = write_trace(Path(folder) / "day.csv")
        options = Options(
            (to,),
            kind="embeddings",
            model=name,
            trace=trace,
            speed_up=SPEED,
            trace_start=MORNING * DAY - SPEED * (ramp - begin),
            seconds=ramp - begin + 60,
            connections="fresh",
            slo_milliseconds=1000,
        )
        with Background(options) as load:
            say(f"demo: traffic will rise at {_clock(ramp)}, as it did at this minute of each hour of the last week")
            time.sleep(max(begin + MEASURED_SECONDS - time.time(), 0))
            prometheus.fill(prometheus.home(spec), history(namespace, name, ramp, begin))
            yesterday = f'springtide:requests:rate1m{{service="{name}",pod="history"}} offset 1d'
            process.wait_for(lambda: bool(prometheus.query(spec, yesterday)), "Prometheus to read the past week", 90)
            kubectl(spec, "rollout", "restart", *forecaster)
            rise = _watch(spec, namespace, name, ramp)
            return ramp - rise, load.wait()


def serve(spec: Spec, namespace: str, name: str, mode: str = "Auto", cpu: str = "1") -> str:
    """Apply the service of scaling.yaml under a name and return its URL when it is Ready and takes connections."""
    service = yaml.safe_load((Path(__file__).parent / "scaling.yaml").read_text())
    service["metadata"]["name"] = name
    service["spec"]["scaling"] = {"mode": mode}
    service["spec"]["pools"][0]["resources"]["limits"]["cpu"] = cpu
    kubectl(spec, "apply", f"--namespace={namespace}", "--filename=-", stdin=json.dumps(service))
    wait = ("wait", "--for=condition=Ready", f"modelservice/{name}", f"--namespace={namespace}")
    kubectl(spec, *wait, "--timeout=300s", "--request-timeout=320s")
    return address(spec, namespace, name)


def set_mode(spec: Spec, namespace: str, name: str, mode: str) -> None:
    """Set spec.scaling.mode."""
    patch = json.dumps({"spec": {"scaling": {"mode": mode}}})
    kubectl(spec, "patch", "modelservice", name, f"--namespace={namespace}", "--type=merge", f"--patch={patch}")


def forecast(spec: Spec, namespace: str, name: str) -> str:
    """Return the 90th percentile of the next minutes, as the forecaster wrote it; nothing before it did."""
    for one in json.loads(kubectl(spec, "get", "trafficforecasts", f"--namespace={namespace}", "-o=json"))["items"]:
        series = one["spec"].get("series")
        if one["spec"]["serviceName"] == name and series:
            starts = datetime.fromisoformat(series.get("startsAt") or series["issuedAt"]).timestamp()
            first = max(int((time.time() - starts) // 60), 0)
            (p90,) = (of["milliRequestsPerSecond"] for of in series["quantiles"] if of["thousandths"] == 900)
            return "at most (P90) " + " ".join(f"{value / 1000:.1f}" for value in p90[first : first + 5])
    return ""


def rate_at(seconds: float) -> float:
    """Return the requests a second so many seconds after the start of a replayed day."""
    share = seconds / CYCLE % 1
    for (left, low), (right, high) in pairwise(SHAPE):
        if share <= right:
            return low + (high - low) * (share - left) / (right - left)
    return NIGHT


def write_trace(path: Path) -> Path:
    """Write the day as hack/load reads it: requests in bins that take ten seconds when it is replayed."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["t_s", "requests"])
        for second in range(0, CYCLE, 10):
            rows.writerow([second * SPEED, round(10 * rate_at(second + 5))])
    return path


def history(namespace: str, name: str, ramp: float, begin: float) -> Iterator[str]:
    """Yield the past week as OpenMetrics, a value a minute, where each day's rise was a whole number of hours before.

    It fades as what is sent since `begin` is measured, so that the sum has neither a gap nor a bump.
    """
    rng = random.Random(1)  # noqa: S311
    labels = f'namespace="{namespace}",service="{name}",pool="cpu",pod="history",source="pod"'
    yield "# TYPE springtide:requests:rate1m gauge"
    minute = int(begin - HISTORY_DAYS * DAY) // 60 * 60
    while minute < begin:
        expected = 60 * rate_at(minute - ramp + MORNING * CYCLE)
        value = max(rng.gauss(expected, expected**0.5), 0.0) / 60
        yield f"springtide:requests:rate1m{{{labels}}} {value:.4f} {minute}"
        minute += 60
    for second in range(FADE_SECONDS, MEASURED_SECONDS + 1, FADE_SECONDS):
        left = 1 - (second - FADE_SECONDS) / (MEASURED_SECONDS - FADE_SECONDS)
        yield f"springtide:requests:rate1m{{{labels}}} {left * NIGHT:.4f} {begin + second:.0f}"
    yield "# EOF"


def _watch(spec: Spec, namespace: str, name: str, ramp: float) -> float:
    """Tell what happens until the traffic rises; return when the target did, in Unix seconds."""
    acts = False
    while True:
        status = json.loads(kubectl(spec, "get", "modelservice", name, f"--namespace={namespace}", "-o=json"))["status"]
        foreseen = forecast(spec, namespace, name)
        say(
            f"  {_clock(time.time())}  {_measured(spec, namespace, name):4.1f} requests a second, forecast "
            f"{foreseen or 'none yet'}; target {status['targetReplicas']}, ready {status.get('readyReplicas', 0)}"
        )
        decisions = [one for one in status.get("scaling", {}).get("decisions", []) if one["mode"] == "Auto"]
        for one in decisions:
            if one["reason"] == "ForecastRises":
                say(f"demo: {one['message']}")
                return datetime.fromisoformat(one["time"]).timestamp()
        if time.time() > ramp:
            made = "; ".join(one["message"] for one in decisions) or "none"
            raise Failure(
                f"no forecast made the target rise before the traffic did, at {_clock(ramp)}; "
                f"forecast {foreseen or 'none'}; decisions: {made}; status.scaling: {status.get('scaling')}"
            )
        if foreseen and not acts:
            set_mode(spec, namespace, name, "Auto")
            acts = True
        time.sleep(10)


def _measured(spec: Spec, namespace: str, name: str) -> float:
    selector = f'namespace="{namespace}",service="{name}",pod!="history"'
    rows = prometheus.query(spec, f"sum(springtide:requests:rate1m{{{selector}}})")
    return float(rows[0]["value"][1]) if rows else 0.0


def _ready(spec: Spec, namespace: str, name: str) -> int:
    path = "-o=jsonpath={.status.readyReplicas}"
    return int(kubectl(spec, "get", "modelservice", name, f"--namespace={namespace}", path) or 0)


def _next_minute(seconds: float) -> float:
    return -(-seconds // 60) * 60


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
