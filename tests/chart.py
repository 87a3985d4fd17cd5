"""The Helm chart, rendered by Helm itself."""

import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.programs import ROOT, tool

CHART = ROOT / "deploy" / "helm" / "instructree"
Manifest = dict[str, Any]

CLASSES: list[dict[str, Any]] = [
    {
        "name": "general",
        "queues": ["expand", "evaluate", "generate", "instantiate"],
        "slots": 64,
        "replicas": 2,
        "graceSeconds": 120,
        "scale": {"enabled": True, "min": 0, "max": 20},
        "resources": {"limits": {"memory": "1Gi"}},
    },
    {
        "name": "answers",
        "queues": ["respond"],
        "slots": 16,
        "replicas": 3,
        "graceSeconds": 30,
        "scale": {"enabled": False, "min": 1, "max": 2},
        "resources": {"limits": {"memory": "1Gi"}},
    },
    {
        "name": "students",
        "queues": ["train"],
        "slots": 1,
        "replicas": 1,
        "graceSeconds": 600,
        "scale": {"enabled": False, "min": 0, "max": 1},
        "resources": {"limits": {"memory": "16Gi", "nvidia.com/gpu": 1}},
        "image": "registry.example.org/instructree-train:0.1.0",
        "nodeSelector": {"gpu": "yes"},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
        "data": {"claimName": "students"},
    },
]
LEAST: dict[str, Any] = {"existingSecret": "its-secret", "endpoint": {"baseUrl": "https://models.example.org/v1"}}
# Everything that can be switched on.
MOST: dict[str, Any] = {
    "existingSecret": "its-secret",
    "endpoint": {"baseUrl": "https://models.example.org/v1", "model": "m", "allowHttp": True},
    "config": '[endpoints.default]\nmodel = "m"\n',
    "extraSecretKeys": ["OTHER_KEY"],
    "extraEnv": {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "INSTRUCTREE_TRACES": "0.1"},
    "networkPolicy": {"ports": {"extra": [4318]}},
    "imagePullSecrets": [{"name": "registry"}],
    "serviceAccountName": "somebody",
    "workers": CLASSES,
    "nodeSelector": {"pool": "cheap"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "console": {"enabled": True, "hosts": ["trees.example.org"]},
    "metrics": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "rules": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True},
    },
}


_VERBS = {
    "template": ["template", "night"],
    "lint": ["lint", "--strict"],
    "install": ["install", "night", "--dry-run=client"],  # prints what it would do, notes included
}


def helm(folder: Path, values: dict[str, Any], verb: str = "template") -> subprocess.CompletedProcess[str]:
    """`helm template`, `lint` or a dry `install` with these values, without a cluster, a plug-in or a cache."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    home = {name: str(folder) for name in ("HOME", "HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}
    return subprocess.run(
        [tool("helm"), *_VERBS[verb], CHART, "--values", file], env=home, capture_output=True, text=True, check=False
    )


def rendered(folder: Path, values: dict[str, Any]) -> list[Manifest]:
    done = helm(folder, values)
    assert done.returncode == 0, done.stderr
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    """By name."""
    return {one["metadata"]["name"]: one for one in manifests if one["kind"] == kind}
