"""The Helm chart: rendered by Helm, held against the schemas of Kubernetes, and read for what a schema does not know.

ServiceMonitor, PrometheusRule, ScaledObject and TriggerAuthentication are other projects' kinds, and no package brings
their schemas: they are held against small models of our own, of the fields that we use.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from tests.chart import CHART, LEAST, MOST, Manifest, helm, of_kind, rendered
from tests.programs import ROOT, tool
from tests.unit.test_compose import parse
from workers.contracts import Kind

# What the chart supports, and the newest that its schemas know.
KUBERNETES = ("1.27", "1.37")


class Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Labels(Exact):
    matchLabels: dict[str, str]


class Endpoint(Exact):
    port: str
    interval: str = Field(pattern=r"^\d+[sm]$")


class ServiceMonitor(Exact):
    selector: Labels
    endpoints: list[Endpoint]


class Rule(Exact):
    alert: str
    expr: str
    for_: str = Field(alias="for")
    labels: dict[str, str]
    annotations: dict[str, str]


class Group(Exact):
    name: str
    rules: list[Rule]


class PrometheusRule(Exact):
    groups: list[Group]


class Target(Exact):
    name: str


class Postgresql(Exact):
    """Every value of a trigger's metadata is a string."""

    query: str
    targetQueryValue: str = Field(pattern=r"^\d+$")
    activationTargetQueryValue: str = Field(pattern=r"^\d+$")


class Trigger(Exact):
    type: Literal["postgresql"]
    metadata: Postgresql
    authenticationRef: Target


class ScaledObject(Exact):
    scaleTargetRef: Target
    minReplicaCount: int
    maxReplicaCount: int
    pollingInterval: int
    cooldownPeriod: int
    triggers: list[Trigger]


class SecretRef(Exact):
    parameter: Literal["connection"]
    name: str
    key: str


class TriggerAuthentication(Exact):
    secretTargetRef: list[SecretRef]


OTHERS: dict[tuple[str, str], type[Exact]] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): ServiceMonitor,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PrometheusRule,
    ("keda.sh/v1alpha1", "ScaledObject"): ScaledObject,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): TriggerAuthentication,
}


@pytest.fixture(scope="module", params=["least", "most"])
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    values = {"least": LEAST, "most": MOST}[request.param]
    return rendered(tmp_path_factory.mktemp("chart"), values)


@pytest.fixture(scope="module")
def most(tmp_path_factory: pytest.TempPathFactory) -> list[Manifest]:
    return rendered(tmp_path_factory.mktemp("chart"), MOST)


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """(name, pod template) of all that starts pods."""
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]


def containers(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for name, pod in pods(manifests):
        yield from ((name, container) for container in pod["spec"]["containers"])


@pytest.mark.parametrize("values", [LEAST, MOST], ids=["least", "most"])
def test_helm_itself_finds_no_fault(tmp_path: Path, values: dict[str, Any]):
    done = helm(tmp_path, values, "lint")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_is_one_of_kubernetes(manifests: list[Manifest], tmp_path: Path, version: str):
    for number, manifest in enumerate(manifests):
        if (manifest["apiVersion"], manifest["kind"]) not in OTHERS:
            (tmp_path / f"{number:02}.yaml").write_text(yaml.safe_dump(manifest))
    files = sorted(tmp_path.glob("*.yaml"))
    check: list[str | Path] = [tool("kubernetes-validate"), "--strict", "--kubernetes-version", version, *files]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(files) >= 6


def test_every_manifest_of_another_project_has_the_fields_that_we_know(manifests: list[Manifest]):
    for manifest in manifests:
        if model := OTHERS.get((manifest["apiVersion"], manifest["kind"])):
            model.model_validate(manifest["spec"])
            assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}


def test_everything_can_be_switched_on(most: list[Manifest]):
    assert {one["kind"] for one in most} == {
        *("Deployment", "Job", "Service", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy"),
        *(kind for _, kind in OTHERS),
    }


def test_no_pod_has_more_rights_than_it_needs(manifests: list[Manifest]):
    for name, pod in pods(manifests):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all("hostPath" not in volume for volume in spec["volumes"])
    for name, container in containers(manifests):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert container["resources"]["limits"]["memory"]


def test_every_secret_is_a_reference(manifests: list[Manifest]):
    assert not of_kind(manifests, "Secret")
    for name, container in containers(manifests):
        for variable in container["env"]:
            if (
                variable["name"].endswith(("_URL", "_KEY", "_TOKEN", "_WEBHOOK"))
                and variable["name"] != "OPENAI_BASE_URL"
            ):
                assert variable["valueFrom"]["secretKeyRef"]["name"] == "its-secret", (name, variable)


def test_who_gets_which_secret(most: list[Manifest]):
    secrets = {
        name: {one["name"] for one in container["env"] if "valueFrom" in one} for name, container in containers(most)
    }
    services = {"INSTRUCTREE_DATABASE_URL", "INSTRUCTREE_REDIS_URL", "INSTRUCTREE_BROKER_URL"}
    models = {"OPENAI_API_KEY", "OTHER_KEY"}
    assert secrets == {
        "night-migrate": {"INSTRUCTREE_DATABASE_URL"},
        "night-orchestrator": services | models | {"INSTRUCTREE_WEBHOOK"},
        "night-worker-general": services | models,
        "night-worker-answers": services | models,
        "night-worker-students": services | models,
        "night-console": services | {"INSTRUCTREE_CONSOLE_TOKEN"},
    }


def test_every_command_and_every_probe_is_a_command_line_of_ours(manifests: list[Manifest]):
    for _, container in containers(manifests):
        parse(container["args"])
        for kind in ("startupProbe", "readinessProbe"):
            if "exec" in container.get(kind, {}):
                program, *arguments = container[kind]["exec"]["command"]
                assert program == "instructree"
                parse(arguments)
        if "exec" in container.get("livenessProbe", {}):
            # Only who is known to be silent is started anew: what cannot be found out is no reason.
            command = container["startupProbe"]["exec"]["command"]
            assert container["livenessProbe"]["exec"]["command"] == ["sh", "-c", f"{' '.join(command)}; [ $? -ne 1 ]"]


def test_the_notes_say_how_a_run_is_started_in_commands_of_ours(tmp_path: Path):
    done = helm(tmp_path, LEAST, "install")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("\nNOTES:\n")[2]
    commands = [line.split() for line in re.findall(r"-- instructree (.*)", notes)]
    for arguments in commands:
        parse(arguments)
    assert [arguments[0] for arguments in commands] == ["doctor", "run", "status", "export"]
    (orchestrator,) = (pod for name, pod in pods(rendered(tmp_path, LEAST)) if name == "night-orchestrator")
    assert set(re.findall(r"exec deploy/(\S+)", notes)) == {"night-orchestrator"}
    (selector,) = re.findall(r"get pod -l (\S+)", notes)
    wanted = dict(label.split("=") for label in selector.split(","))
    assert wanted.items() <= orchestrator["metadata"]["labels"].items()


def test_a_worker_may_finish_what_it_has_in_hand(manifests: list[Manifest]):
    found = 0
    for name, pod in pods(manifests):
        env = {one["name"]: one.get("value") for one in pod["spec"]["containers"][0]["env"]}
        if "worker" in name:
            found += 1
            assert pod["spec"]["terminationGracePeriodSeconds"] >= float(env["INSTRUCTREE_GRACE_S"]) + 15
    assert found >= 1


def test_no_sources_that_are_let_in_means_nobody_and_not_everybody(tmp_path: Path):
    nobody = {**LEAST, "networkPolicy": {"metricsFrom": [], "consoleFrom": []}, "console": {"enabled": True}}
    for name, policy in of_kind(rendered(tmp_path, nobody), "NetworkPolicy").items():
        assert "Ingress" in policy["spec"]["policyTypes"] and "ingress" not in policy["spec"], name


def test_each_selector_finds_its_own_pods_and_no_others(manifests: list[Manifest]):
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(manifests)}
    selecting = [one for one in manifests if one["kind"] in ("Deployment", "PodDisruptionBudget")]
    for one in selecting:
        wanted = one["spec"]["selector"]["matchLabels"].items()
        assert [name for name, given in labels.items() if wanted <= given.items()] == [one["metadata"]["name"]]


def test_the_network_policy_is_for_every_pod(manifests: list[Manifest]):
    policy = of_kind(manifests, "NetworkPolicy")["night"]["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    for _, pod in pods(manifests):
        assert policy["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    outward = [rule for rule in policy["egress"] if "to" in rule]
    assert all("169.254.0.0/16" in str(rule["to"]) for rule in outward)
    assert all("ports" in rule for rule in policy["egress"])


def test_traces_are_sent_by_those_who_have_spans_through_a_port_that_is_open(most: list[Manifest]):
    told = {
        name: {one["name"]: one.get("value") for one in container["env"]}.items() >= MOST["extraEnv"].items()
        for name, container in containers(most)
    }
    assert {name for name, tells in told.items() if tells} == {
        *("night-orchestrator", "night-worker-general", "night-worker-answers", "night-worker-students"),
    }
    outward = of_kind(most, "NetworkPolicy")["night"]["spec"]["egress"][-1]
    assert {one["port"] for one in outward["ports"]} == {5432, 6379, 443, 4318}


def test_migrations_come_before_everything_and_an_orchestrator_of_before_has_gone_by_then(manifests: list[Manifest]):
    (job,) = of_kind(manifests, "Job").values()
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"
    # A hook runs before the chart's own ConfigMaps are there.
    assert all("configMap" not in volume for volume in job["spec"]["template"]["spec"]["volumes"])
    assert of_kind(manifests, "Deployment")["night-orchestrator"]["spec"]["strategy"] == {"type": "Recreate"}


def test_keda_and_nobody_else_counts_the_replicas_of_a_class_that_scales(most: list[Manifest]):
    deployments = of_kind(most, "Deployment")
    assert "replicas" not in deployments["night-worker-general"]["spec"]
    assert deployments["night-worker-answers"]["spec"]["replicas"] == 3
    ((name, scaled),) = of_kind(most, "ScaledObject").items()
    assert scaled["spec"]["scaleTargetRef"]["name"] == name == "night-worker-general"
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] in of_kind(most, "TriggerAuthentication")
    assert "HorizontalPodAutoscaler" not in {one["kind"] for one in most}
    arguments = deployments[name]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert trigger["metadata"]["targetQueryValue"] == arguments[arguments.index("--slots") + 1]
    for queue in arguments[arguments.index("--queues") + 1].split(","):
        assert f"'{queue}'" in trigger["metadata"]["query"]


def test_a_class_may_have_an_image_nodes_and_data_of_its_own(most: list[Manifest]):
    found = {name: pod["spec"] for name, pod in pods(most)}
    students = found.pop("night-worker-students")
    assert students["containers"][0]["image"] == "registry.example.org/instructree-train:0.1.0"
    assert students["nodeSelector"] == {"gpu": "yes"}
    assert students["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    (data,) = (volume for volume in students["volumes"] if volume["name"] == "data")
    assert data["persistentVolumeClaim"] == {"claimName": "students"}
    # And nobody else has any of it.
    assert {spec["containers"][0]["image"] for spec in found.values()} == {"instructree:0.1.0"}
    assert "students" not in str(list(found.values()))
    for name in ("night-worker-general", "night-worker-answers"):
        assert found[name]["nodeSelector"] == {"pool": "cheap"}
        assert found[name]["tolerations"] == [{"key": "spot", "operator": "Exists"}]


def test_rules_and_dashboards_are_those_of_deploy_monitoring(most: list[Manifest]):
    monitoring = ROOT / "deploy" / "monitoring"
    (rules,) = of_kind(most, "PrometheusRule").values()
    assert rules["spec"] == yaml.safe_load((monitoring / "alerts.yml").read_text())
    there = {path.name: json.loads(path.read_text()) for path in (monitoring / "grafana/dashboards").glob("*.json")}
    data = of_kind(most, "ConfigMap")["night-dashboards"]["data"]
    assert {name: json.loads(text) for name, text in data.items()} == there


def test_prometheus_finds_the_port_of_every_orchestrator_and_worker(most: list[Manifest]):
    (monitor,) = of_kind(most, "ServiceMonitor").values()
    service = of_kind(most, "Service")["night-metrics"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in [port["name"] for port in service["spec"]["ports"]]
    telling = {
        name for name, container in containers(most) if "metrics" in [p["name"] for p in container.get("ports", ())]
    }
    assert telling == {
        *("night-orchestrator", "night-worker-general", "night-worker-answers", "night-worker-students"),
    }


def test_the_schema_of_values_knows_every_kind_of_task():
    schema = json.loads((CHART / "values.schema.json").read_text())
    queues = schema["properties"]["workers"]["items"]["properties"]["queues"]["items"]["enum"]
    assert sorted(queues) == sorted(Kind)
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    # The image has what the core has: training needs one of its own.
    assert sorted(defaults["workers"][0]["queues"]) == sorted(set(Kind) - {Kind.TRAIN})


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("existingSecret",), "", "existingSecret"),
        (("endpoint",), {"baseUrl": "ftp://x"}, "baseUrl"),
        (("endpoint",), {}, "name a model endpoint"),
        (("workers", 0, "queues"), ["expnad"], "queues"),
        (("workers", 0, "queues"), [], "queues"),
        (("workers", 0, "slots"), 0, "slots"),
        (("workers", 0, "slot"), 1, "additional properties 'slot' not allowed"),
        (("workers", 0, "name"), "Not A Name", "name"),
        (("workers", 0, "data"), {"claim": "students"}, "claimName"),
        (("workers", 1, "name"), "general", 'two classes are called "general"'),
        (("workers", 0, "scale"), {"enabled": True, "min": 3, "max": 2}, "scales from 3 to 2"),
        (("extraEnv",), {"INSTRUCTREE_TRACES": 0.1}, "extraEnv"),
        (("password",), "x", "additional properties 'password' not allowed"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(
    tmp_path: Path, path: tuple[Any, ...], value: object, complaint: str
):
    values: Any = deepcopy(MOST)
    if value == {}:
        del values["config"]  # or that would name an endpoint
    place = values
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    done = helm(tmp_path, values)
    assert done.returncode != 0 and complaint in done.stderr, done.stderr
