"""The chart's values, their schema and the version agree, and each value does what it says."""

import json
import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from hack.cluster.tools import program
from springtide import VERSION
from springtide.cli import forecaster, train
from springtide.cli.operator import _parser
from tests.unit.samples import ROOT

CHART = ROOT / "charts/springtide"
OPEN = {
    "nodeSelector",
    "fetchEnvironment",
    "podLabels",
    "podAnnotations",
    "metrics.serviceMonitor.labels",
    "metrics.podMonitor.labels",
    "metrics.prometheusRule.labels",
    "resources.requests",
    "resources.limits",
    "forecaster.resources.requests",
    "forecaster.resources.limits",
    "forecaster.training.resources.requests",
    "forecaster.training.resources.limits",
}
DEFINITION = "CustomResourceDefinition/modelservices.springtide.dev"
OPERATOR = "Deployment/springtide-operator"


def helm(*settings: str, release: str = "springtide") -> subprocess.CompletedProcess[str]:
    words = [f"--set-json={setting}" for setting in settings]
    return subprocess.run(
        [str(program("helm")), "template", release, str(CHART), "--namespace=system", *words],
        capture_output=True,
        text=True,
    )


def render(*settings: str, release: str = "springtide") -> dict[str, Any]:
    """Return the chart's objects by kind and name."""
    done = helm(*settings, release=release)
    assert done.returncode == 0, done.stderr
    found = [one for one in yaml.safe_load_all(done.stdout) if one]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    return render()


def pod_of(objects: dict[str, Any]) -> dict[str, Any]:
    return objects[OPERATOR]["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def unknown(values: Any, schema: dict[str, Any], path: str = "") -> list[str]:
    """Return the values that the schema does not name, and the objects in which it would let anything pass."""
    if not isinstance(values, dict) or path in OPEN:
        return []
    found = [] if schema.get("additionalProperties") is False else [f"{path} is open"]
    for name, value in values.items():
        at = f"{path}.{name}".removeprefix(".")
        child = schema.get("properties", {}).get(name)
        found += [at] if child is None else unknown(value, child, at)
    return found


def test_the_schema_names_every_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert not unknown(values, schema)
    assert schema["properties"].keys() - {"global"} == values.keys()


def test_the_version_is_the_same_everywhere() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == VERSION


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("replicas=-1", ["/replicas", "minimum"]),
        ('replicas="2"', ["/replicas", "integer"]),
        ('leaderElection={"enabled": "yes"}', ["/leaderElection/enabled", "boolean"]),
        ('crds={"keep": 1}', ["/crds/keep", "boolean"]),
        ('imagePullSecrets=["registry"]', ["/imagePullSecrets/0", "object"]),
        ('networkPolicy={"prometheusNamespaces": ["Monitoring"]}', ["/networkPolicy/prometheusNamespaces/0"]),
        ('metrics={"scrapeInterval": "30s"}', ["/metrics/scrapeInterval"]),
        ('metrics={"gatewayNamespaces": []}', ["/metrics/gatewayNamespaces"]),
        ('metrics={"configMap": {"enabled": "yes"}}', ["/metrics/configMap/enabled", "boolean"]),
        ('priorityClassName="High Priority"', ["/priorityClassName"]),
        ('podLabels={"a": 1}', ["/podLabels/a", "string"]),
        ('affinity={"nodes": {}}', ["/affinity", "nodes"]),
        ('topologySpreadConstraints=[{"topologyKey": "zone"}]', ["/topologySpreadConstraints/0", "maxSkew"]),
        ('forecaster={"persistence": {"accessMode": "ReadOnlyMany"}}', ["/forecaster/persistence/accessMode"]),
        ('forecaster={"training": {"schedule": "at night"}}', ["/forecaster/training/schedule"]),
        ('forecaster={"training": {"days": 1}}', ["/forecaster/training/days", "minimum"]),
        ("replica=2", ["replica"]),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(setting: str, words: list[str]) -> None:
    done = helm(setting)
    assert done.returncode != 0
    assert all(word in done.stderr for word in words), done.stderr


def test_two_replicas_need_the_election() -> None:
    done = helm("replicas=2", 'leaderElection={"enabled": false}')
    assert done.returncode != 0
    assert "replicas: 2 needs leaderElection.enabled=true" in done.stderr


def test_the_operator_takes_its_arguments() -> None:
    settings = ['namespaces=["team-a", "team-b"]', 'modelServer={"packagesClaim": "packages"}']
    for more in ([], ['leaderElection={"enabled": false}']):
        arguments = pod_of(render(*settings, *more))["containers"][0]["args"]
        parsed = _parser().parse_args(arguments)
        assert parsed.namespace == ["team-a", "team-b"]
        assert parsed.leader_election_namespace == (None if more else "system")
        if not more:
            assert (parsed.leader_election_name, parsed.identity) == ("springtide-operator", "$(POD_NAME)")


def test_the_election_has_no_more_rights_than_it_needs(default: dict[str, Any]) -> None:
    rules = default["Role/springtide-operator-leader"]["rules"]
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in rules] == [
        (["leases"], ["springtide-operator"], ["get", "update"]),
        (["leases"], None, ["create"]),
    ]
    assert default[OPERATOR]["spec"]["strategy"]["type"] == "RollingUpdate"
    without = render('leaderElection={"enabled": false}')
    assert "Role/springtide-operator-leader" not in without
    assert without[OPERATOR]["spec"]["strategy"] == {"type": "Recreate"}
    assert "env" not in pod_of(without)["containers"][0]


def test_two_releases_do_not_share_a_lease() -> None:
    arguments = render(release="other")["Deployment/other-operator"]["spec"]["template"]["spec"]["containers"][0]
    assert "--leader-election-name=other-operator" in arguments["args"]


def test_one_replica_is_no_obstacle_to_a_drain(default: dict[str, Any]) -> None:
    assert not [name for name in default if name.startswith("PodDisruptionBudget/")]
    assert "topologySpreadConstraints" not in pod_of(default)
    two = render("replicas=2")
    budget = two["PodDisruptionBudget/springtide-operator"]["spec"]
    assert budget["maxUnavailable"] == 1
    labels = two[OPERATOR]["spec"]["template"]["metadata"]["labels"]
    assert budget["selector"]["matchLabels"].items() <= labels.items()
    spread = pod_of(two)["topologySpreadConstraints"]
    assert {one["topologyKey"] for one in spread} == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert all(one["whenUnsatisfiable"] == "ScheduleAnyway" for one in spread)


def test_the_definition_stays_unless_told_otherwise(default: dict[str, Any]) -> None:
    assert default[DEFINITION]["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    gone = render('crds={"keep": false}')[DEFINITION]
    assert "annotations" not in gone["metadata"]
    assert gone["spec"] == default[DEFINITION]["spec"]
    assert DEFINITION not in render('crds={"enabled": false}')


def test_who_reaches_the_port(default: dict[str, Any]) -> None:
    policy = default["NetworkPolicy/springtide-operator"]["spec"]
    labels = default[OPERATOR]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"], "what the operator asks has no selector"
    test = default["Pod/springtide-operator-test"]["metadata"]["labels"]
    everyone, ours = policy["ingress"][0]["from"]
    assert everyone == {"namespaceSelector": {}}
    assert ours["podSelector"]["matchLabels"].items() <= test.items()
    narrow = render('networkPolicy={"prometheusNamespaces": ["monitoring"]}')["NetworkPolicy/springtide-operator"]
    chosen = narrow["spec"]["ingress"][0]["from"][0]["namespaceSelector"]["matchExpressions"]
    assert chosen == [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["monitoring"]}]
    assert "NetworkPolicy/springtide-operator" not in render('networkPolicy={"enabled": false}')


def test_what_pods_are_given() -> None:
    spread = {"topologyKey": "rack", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    objects = render(
        "replicas=3",
        'imagePullSecrets=[{"name": "registry"}]',
        'priorityClassName="system-cluster-critical"',
        'podLabels={"team": "ml", "app.kubernetes.io/name": "mine"}',
        'podAnnotations={"a": "b"}',
        'nodeSelector={"pool": "system"}',
        'tolerations=[{"operator": "Exists"}]',
        'affinity={"podAntiAffinity": {}}',
        f"topologySpreadConstraints={json.dumps([spread])}",
    )
    metadata = objects[OPERATOR]["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"a": "b"}
    assert metadata["labels"]["team"] == "ml"
    assert metadata["labels"]["app.kubernetes.io/name"] == "springtide-operator", "the selector goes on matching"
    operator, test = pod_of(objects), objects["Pod/springtide-operator-test"]["spec"]
    assert operator["priorityClassName"] == "system-cluster-critical"
    assert operator["affinity"] == {"podAntiAffinity": {}}
    assert operator["topologySpreadConstraints"] == [spread]
    for pod in (operator, test):
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["nodeSelector"] == {"pool": "system"}
        assert pod["tolerations"] == [{"operator": "Exists"}]


def test_the_test_is_restricted_and_cleans_up(default: dict[str, Any]) -> None:
    hooks = [one for one in default.values() if "helm.sh/hook" in one["metadata"].get("annotations", {})]
    assert {one["kind"] for one in hooks} == {"ServiceAccount", "Role", "RoleBinding", "Pod"}
    assert all("hook-succeeded" in one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for one in hooks)
    test, operator = default["Pod/springtide-operator-test"], pod_of(default)
    assert test["spec"]["containers"][0]["securityContext"] == operator["containers"][0]["securityContext"]
    assert test["spec"]["securityContext"] == operator["securityContext"]
    assert test["spec"]["containers"][0]["image"] == operator["containers"][0]["image"]
    selector = default["Service/springtide-operator-metrics"]["spec"]["selector"]
    assert not selector.items() <= test["metadata"]["labels"].items(), "it would answer in the operator's place"
    script = test["spec"]["containers"][0]["args"][0]
    compile(script, "helm test", "exec")


@pytest.mark.parametrize(
    ("entry", "uri"),
    [
        ("registry.example.com", "oci://registry.example.com/helm-test:v1"),
        ("localhost:5000", "oci://localhost:5000/helm-test:v1"),
        ("docker.io/springtide/", "oci://docker.io/springtide/helm-test:v1"),
        ("registry.example.org/chat:v1", "oci://registry.example.org/chat:v1"),
        (f"registry.example.org/chat@sha256:{'0' * 64}", f"oci://registry.example.org/chat@sha256:{'0' * 64}"),
    ],
)
def test_the_tests_image_is_in_the_allow_list(entry: str, uri: str) -> None:
    pod = render(f"admission.imageAllowList={json.dumps([entry])}")["Pod/springtide-operator-test"]["spec"]
    assert {"name": "MODEL", "value": uri} in pod["containers"][0]["env"]


PROMETHEUS = 'prometheus={"url": "http://p:9090", "tokenSecretName": "token", "caSecretName": "ca"}'
FORECASTER = "Deployment/springtide-forecaster"
TRAINING = "CronJob/springtide-forecaster-training"
PERSISTENT = 'forecaster={"persistence": {"enabled": true}}'


def containers(objects: dict[str, Any], name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the pod of a workload, and its container."""
    spec = objects[name]["spec"]
    pod = spec.get("jobTemplate", {"spec": spec})["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def test_without_a_prometheus_there_is_no_forecaster(default: dict[str, Any]) -> None:
    assert not [name for name in default if "forecaster" in name]
    assert FORECASTER in render(PROMETHEUS)
    assert not [name for name in render(PROMETHEUS, 'forecaster={"enabled": false}') if "forecaster" in name]


def test_the_forecaster_takes_its_arguments() -> None:
    objects = render(PROMETHEUS, 'namespaces=["team-a", "team-b"]')
    pod, container = containers(objects, FORECASTER)
    parsed = forecaster._parser().parse_args(container["args"])
    assert parsed.namespace == ["team-a", "team-b"]
    assert parsed.prometheus_url == "http://p:9090"
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    for path in (parsed.prometheus_token_file, parsed.prometheus_ca_file, parsed.checkpoint):
        assert str(path.parent) in mounted
    assert str(parsed.state_dir) in mounted
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}
    assert {"name": "state", "emptyDir": {}} in pod["volumes"]
    assert pod["automountServiceAccountToken"] is True


def test_the_forecaster_has_no_more_rights_than_it_needs() -> None:
    objects = render(PROMETHEUS)
    rules = objects["ClusterRole/system-springtide-forecaster"]["rules"]
    assert [(rule["resources"], rule["verbs"]) for rule in rules] == [
        (["modelservices"], ["list"]),
        (["trafficforecasts"], ["create", "patch"]),
    ]
    assert "ClusterRoleBinding/system-springtide-forecaster" in objects
    some = render(PROMETHEUS, 'namespaces=["team-a"]')
    assert "ClusterRoleBinding/system-springtide-forecaster" not in some
    assert some["RoleBinding/system-springtide-forecaster"]["metadata"]["namespace"] == "team-a"


def test_training_needs_a_place_for_what_it_learns() -> None:
    assert TRAINING not in render(PROMETHEUS)
    off = 'forecaster={"persistence": {"enabled": true}, "training": {"enabled": false}}'
    assert TRAINING not in render(PROMETHEUS, off)
    objects = render(PROMETHEUS, PERSISTENT, 'modelServer={"packagesClaim": "packages"}')
    pod, container = containers(objects, TRAINING)
    parsed = train._parser().parse_args(container["args"])
    assert parsed.checkpoint == forecaster._parser().parse_args(containers(objects, FORECASTER)[1]["args"]).checkpoint
    assert container["command"] == ["python3", "-m", train.__name__]
    assert container["image"] == f"springtide/model-server:{VERSION}"
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["operator"]["image"]["reference"] == containers(objects, FORECASTER)[1]["image"]
    claim = {"claimName": "springtide-forecaster"}
    assert volumes["state"]["persistentVolumeClaim"] == claim
    assert {"name": "state", "persistentVolumeClaim": claim} in containers(objects, FORECASTER)[0]["volumes"]
    assert objects["PersistentVolumeClaim/springtide-forecaster"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert pod["automountServiceAccountToken"] is False


def test_a_claim_of_one_node_brings_training_to_it() -> None:
    objects = render(PROMETHEUS, PERSISTENT)
    (term,) = containers(objects, TRAINING)[0]["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    labels = objects[FORECASTER]["spec"]["template"]["metadata"]["labels"]
    assert term["labelSelector"]["matchLabels"].items() <= labels.items()
    selector = objects["Service/springtide-forecaster-metrics"]["spec"]["selector"]
    trained = objects[TRAINING]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert not selector.items() <= trained.items(), "it would be scraped in the forecaster's place"
    shared = '{"enabled": true, "accessMode": "ReadWriteMany", "existingClaim": "mine"}'
    many = render(PROMETHEUS, f'forecaster={{"persistence": {shared}}}')
    pod, _ = containers(many, TRAINING)
    assert "affinity" not in pod
    assert {"name": "state", "persistentVolumeClaim": {"claimName": "mine"}} in pod["volumes"]
    assert not [name for name in many if name.startswith("PersistentVolumeClaim/")]


def test_the_forecaster_and_training_are_restricted() -> None:
    objects = render(PROMETHEUS, PERSISTENT)
    for name in (FORECASTER, TRAINING):
        pod, container = containers(objects, name)
        assert container["securityContext"] == pod_of(objects)["containers"][0]["securityContext"]
        assert pod["securityContext"] == pod_of(objects)["securityContext"] | {"fsGroup": 65532}
