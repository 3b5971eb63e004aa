"""A small client of a real API server, and the operator as a real process."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import yaml
from kubernetes import config
from prometheus_client.parser import text_string_to_metric_families

from hack.cluster.tools import program
from springtide.clients.kubernetes import encode

ROOT = Path(__file__).resolve().parents[2]
MODEL_SERVICES = "/apis/springtide.dev/v1alpha1/namespaces/{namespace}/modelservices"
TRAFFIC_FORECASTS = "/apis/springtide.dev/v1alpha1/namespaces/{namespace}/trafficforecasts"
OURS = {"ModelService": MODEL_SERVICES, "TrafficForecast": TRAFFIC_FORECASTS}
DEPLOYMENTS = "/apis/apps/v1/namespaces/{namespace}/deployments"
REVISIONS = "/apis/apps/v1/namespaces/{namespace}/controllerrevisions"
SERVICES = "/api/v1/namespaces/{namespace}/services"
ACCOUNTS = "/api/v1/namespaces/{namespace}/serviceaccounts"
NETWORK_POLICIES = "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
DISRUPTION_BUDGETS = "/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
CONFIG_MAPS = "/api/v1/namespaces/{namespace}/configmaps"
EVENTS = "/apis/events.k8s.io/v1/namespaces/{namespace}/events"
CHILDREN = (DEPLOYMENTS, SERVICES, ACCOUNTS, NETWORK_POLICIES, DISRUPTION_BUDGETS, CONFIG_MAPS, REVISIONS)
PODS = "/api/v1/namespaces/{namespace}/pods"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = f"{DEFINITIONS}/modelservices.springtide.dev"
REQUESTS = "springtide_api_requests_total"
MERGE = "application/merge-patch+json"

Found = TypeVar("Found")


class Refused(Exception):
    """The API server refused a request."""


class Api:
    """Requests in one namespace."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.namespace = namespace
        self._client = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]

    def call(self, method: str, path: str, body: Any = None, content: str = "application/json", **query: str) -> Any:
        content = content.replace("+yaml", "+yaml; charset=utf-8")
        headers = {"Accept": "application/json", "Content-Type": content}
        request = self._client.param_serialize(
            method,
            path.format(namespace=self.namespace),
            query_params=list(query.items()),
            header_params=headers,
            body=encode(body) if content.startswith("application/apply") else body,
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*request)
        text = response.read().decode()
        if response.status >= 400:
            # a path that is not served yet is refused in plain text
            raise Refused(json.loads(text)["message"] if text.startswith("{") else text)
        return json.loads(text)

    def applies(self) -> int:
        """Return how many patches the API server has had of what an operator writes, no-ops included."""
        headers = {"Accept": "text/plain"}
        request = self._client.param_serialize("GET", "/metrics", header_params=headers, auth_settings=["BearerToken"])
        lines = self._client.call_api(*request).read().decode().splitlines()
        kinds = [path.rsplit("/", 1)[1] for path in (*OURS.values(), *CHILDREN)]
        return sum(
            int(float(line.rsplit(" ", 1)[1]))
            for line in lines
            if line.startswith("apiserver_request_total{")
            and 'verb="PATCH"' in line
            and any(f'resource="{kind}"' in line for kind in kinds)
        )

    def list(self, path: str, labels: str = "") -> dict[str, Any]:
        items = self.call("GET", path, labelSelector=labels)["items"]
        return {item["metadata"]["name"]: item for item in items}

    def get(self, path: str, name: str) -> Any:
        return self.call("GET", f"{path}/{name}")

    def patch(self, path: str, body: Any, content: str = MERGE) -> Any:
        return self.call("PATCH", path, body, content)

    def delete(self, path: str, name: str) -> None:
        self.call("DELETE", f"{path}/{name}")

    def create(self, name: str, **spec: Any) -> Any:
        """Create a ModelService with one pool, unless told otherwise."""
        whole = {"model": {"uri": "oci://models.springtide.dev/chat:v1"}, "pools": [{"name": "cpu"}]} | spec
        body = {
            "apiVersion": "springtide.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": name},
            "spec": whole,
        }
        return self.call("POST", MODEL_SERVICES, body)

    def forecast(self, name: str, **spec: Any) -> Any:
        """Create a TrafficForecast of the service chat, unless told otherwise."""
        return self.call("POST", TRAFFIC_FORECASTS, forecast_body(name, **spec))

    def verdict(self, name: str) -> tuple[str, str]:
        """Return the reasons of Accepted and of Used of a TrafficForecast, empty while it is not judged."""
        live = self.get(TRAFFIC_FORECASTS, name)
        status = live.get("status", {})
        if status.get("observedGeneration") != live["metadata"]["generation"] or not status.get("conditions"):
            return ("", "")
        found = {one["type"]: one for one in status["conditions"]}
        return found["Accepted"]["reason"], found["Used"]["reason"]

    def edit(self, name: str, spec: dict[str, Any]) -> Any:
        return self.patch(f"{MODEL_SERVICES}/{name}", {"spec": spec})

    def status(self, name: str) -> dict[str, Any]:
        return self.get(MODEL_SERVICES, name).get("status", {})  # type: ignore[no-any-return]

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        found = [one for one in self.status(name).get("conditions", ()) if one["type"] == kind]
        return found[0] if found else {}

    def versions(self) -> dict[str, str]:
        """Return the resourceVersion of everything that the operator may write."""
        return {
            f"{path} {name}": item["metadata"]["resourceVersion"]
            for path in (*OURS.values(), *CHILDREN)
            for name, item in self.list(path, "" if path in OURS.values() else "springtide.dev/service").items()
        }


def forecast_body(name: str, **spec: Any) -> dict[str, Any]:
    """Return a TrafficForecast of the service chat, unless told otherwise."""
    head = {"apiVersion": "springtide.dev/v1alpha1", "kind": "TrafficForecast", "metadata": {"name": name}}
    return head | {"spec": {"serviceName": "chat"} | spec}


def after(minutes: float) -> str:
    """Return the time so many minutes from now, as the API has it."""
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def eventually(check: Callable[[], Found], seconds: float = 15) -> Found:
    """Return the first true answer; fail with the last one or its error when the time is over."""
    end = time.monotonic() + seconds
    while True:
        answer: Found | None
        try:
            answer = check()
        except (Refused, LookupError) as missing:  # such as a condition that is not there yet
            answer = None
            last: object = missing
        else:
            last = answer
        if answer:
            return answer
        assert time.monotonic() < end, f"not within {seconds} s; last: {last}"
        time.sleep(0.1)


def install_definitions(api: Api) -> None:
    """Apply the generated definitions and wait until they are served."""
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        body = yaml.safe_load(file.read_text())
        path = f"{DEFINITIONS}/{body['metadata']['name']}"
        api.call("PATCH", path, body, "application/apply-patch+yaml", fieldManager="tests", force="true")
    for path in OURS.values():
        eventually(functools.partial(api.call, "GET", path))


class Operator:
    """A running operator."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def records(self) -> list[dict[str, Any]]:
        """Return its log; every line of it is one JSON object."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def port(self) -> int:
        """Return the port of its health and metrics."""
        return next(int(record["port"]) for record in self.records() if "port" in record)

    def scrape(self) -> str:
        """Return what it answers at /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}/metrics", timeout=5) as response:
            return str(response.read().decode())

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Scrape /metrics; return each value by its name and labels."""
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(self.scrape())
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """Return one value of /metrics, 0 when there is none yet."""
        return self.metrics().get((name, frozenset(labels.items())), 0.0)

    def writes(self) -> float:
        """Return how many requests it has sent that change something."""
        sent = [(dict(labels), value) for (name, labels), value in self.metrics().items() if name == REQUESTS]
        return sum(value for labels, value in sent if labels["verb"] not in {"get", "list"})

    def watching(self) -> bool:
        return any(record["message"].startswith("watching") for record in self.records())

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


@contextmanager
def started_operator(
    kubeconfig: Path, namespace: str, log: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Operator]:
    """Start the operator for one namespace; what is left of it at the end is killed."""
    command = [sys.executable, "-m", "springtide.cli.operator", "--namespace", namespace, "--health-port", "0"]
    command += ["--model-server-image", "springtide/model-server:test", *arguments]
    with log.open("wb") as output:
        variables = os.environ | {"KUBECONFIG": str(kubeconfig)} | dict(environment or {})
        process = subprocess.Popen(command, env=variables, stderr=output)
    try:
        yield Operator(process, log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def running_operator(
    kubeconfig: Path, namespace: str, log: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> Iterator[Operator]:
    """Run the operator for one namespace; at the end it must have logged no traceback and exit 0 within seconds."""
    with started_operator(kubeconfig, namespace, log, *arguments, environment=environment) as operator:
        process = operator.process
        eventually(lambda: operator.watching() or process.poll() is not None, 60)
        assert process.poll() is None, log.read_text()
        yield operator
        if process.poll() is None:
            assert operator.stop() == 0
        assert not [record for record in operator.records() if "exception" in record or record["level"] == "error"]


def operator_kubeconfig(kubeconfig: Path, api: Api, target: Path) -> Path:
    """Write the kubeconfig of a ServiceAccount with the permissions that the chart gives, and no others."""
    # The chart has a ClusterRole, bound in each namespace that is served; a Role comes to the same for one namespace.
    return account_kubeconfig(kubeconfig, api, "operator", operator_rules(), target)


@functools.cache
def operator_rules() -> list[Any]:
    """Return the rules of the chart's ClusterRole and Role, for a release whose Lease has the default name."""
    shown = ("--show-only=templates/rbac.yaml", "--show-only=templates/leaderelection.yaml")
    done = subprocess.run(
        [program("helm"), "template", "springtide", ROOT / "charts/springtide", *shown], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    roles = [one for one in yaml.safe_load_all(done.stdout) if one["kind"] in ("ClusterRole", "Role")]
    assert len(roles) == 2
    return [rule for role in roles for rule in role["rules"]]


def account_kubeconfig(kubeconfig: Path, api: Api, account: str, rules: list[Any], target: Path) -> Path:
    """Write the kubeconfig of a new ServiceAccount that has these permissions in the namespace, and no others."""
    namespace, rbac = api.namespace, "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    accounts = "/api/v1/namespaces/{namespace}/serviceaccounts"
    name = {"metadata": {"name": account}}
    api.call("POST", accounts, name)
    api.call("POST", f"{rbac}/roles", name | {"rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    api.call("POST", f"{rbac}/rolebindings", name | {"roleRef": reference, "subjects": [subject]})
    token = api.call("POST", f"{accounts}/{account}/token", {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    written = yaml.safe_load(kubeconfig.read_text())
    written["users"] = [{"name": one["name"], "user": {"token": token}} for one in written["users"]]
    target.write_text(yaml.safe_dump(written))
    return target


def new_namespace(kubeconfig: Path, prefix: str) -> Api:
    """Create a namespace that enforces the restricted Pod Security Standard, with the definitions installed."""
    api = Api(kubeconfig, "default")
    metadata = {"generateName": f"{prefix}-", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    made = api.call("POST", "/api/v1/namespaces", {"metadata": metadata})
    api.namespace = made["metadata"]["name"]
    install_definitions(api)
    return api


def remove_namespace(api: Api) -> None:
    """Ask for the removal of the namespace."""
    api.call("DELETE", f"/api/v1/namespaces/{api.namespace}")
