"""What every pod of deploy/kubernetes must have, and who may talk to whom."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.settings import Settings, variable
from tools.monitoring import ROOT

BASE = ROOT / "deploy/kubernetes/base"


def manifests(*folders: str) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for path in sorted((ROOT / "deploy/kubernetes" / folder).glob("*.yaml")):
            if path.name != "kustomization.yaml":
                yield from yaml.safe_load_all(path.read_text())


PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in manifests("base", "training")
    if one["kind"] in ("Deployment", "StatefulSet", "Job")
}
LASTING = {name: pod for name, pod in PODS.items() if "train" not in name}
FILES = [path for pattern in ("Dockerfile", "docker/*compose*", "docker/.env.example") for path in ROOT.glob(pattern)]
FILES += (ROOT / "deploy").rglob("*.yaml")
OVERLAID = {
    one["metadata"]["name"] + path: one["spec"]["template"]["spec"]["containers"][0]
    for path in ("overlays/cpu", "overlays/gpu")
    for one in manifests(path)
}


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def by_name(pods: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("pod", pods.values(), ids=pods)


@by_name(PODS)
def test_a_pod_is_restricted_and_has_no_rights(pod: dict[str, Any]) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


@by_name({name: pod for name, pod in PODS.items() if name != "hrm-worker"})
def test_a_container_asks_for_what_it_needs_and_gets_no_more(pod: dict[str, Any]) -> None:
    for container in containers(pod):
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}


@pytest.mark.parametrize("container", OVERLAID.values(), ids=OVERLAID)
def test_the_overlays_say_what_a_worker_needs(container: dict[str, Any]) -> None:
    assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys()
    assert container["resources"]["limits"].keys() >= {"cpu", "memory"}


@by_name(LASTING)
def test_a_pod_that_lasts_is_watched(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert container.keys() >= {"startupProbe", "readinessProbe", "livenessProbe"}


@pytest.mark.parametrize("name", ["hrm-api", "hrm-worker"])
def test_a_pod_has_time_to_drain(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    _, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    settings = re.search(r"HRM_DRAIN_TIMEOUT_S=(\d+)", (BASE / "kustomization.yaml").read_text())
    assert settings is not None
    assert pod["terminationGracePeriodSeconds"] >= int(pause) + int(settings[1]) + 10


@pytest.mark.parametrize("name", ["hrm-api", "hrm-worker"])
def test_probes_ask_the_port_that_the_images_open(name: str) -> None:
    (container,) = PODS[name]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert ports["metrics"] == 8001
    assert "HRM_METRICS_PORT=8001" in dockerfile
    assert "HRM_PROBE_PORT=8001" in dockerfile
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "metrics"


def test_only_api_and_worker_reach_the_queue() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests("base") if one["kind"] == "NetworkPolicy"}
    assert policies["hrm-nothing-else"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (rule,) = policies["hrm-queue"]["ingress"]
    (peer,) = rule["from"]
    (expression,) = peer["podSelector"]["matchExpressions"]
    assert expression["values"] == ["hrm-api", "hrm-worker"]
    assert "egress" not in policies["hrm-queue"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_that_is_named_is_one(path: Path) -> None:
    known = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"\bHRM_[A-Z_]+\b", path.read_text())) <= known
