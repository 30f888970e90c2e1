"""Judge everything under Dockerfile, docker/ and deploy/ without running it: `make deploy-lint`.

Needs hadolint, check-jsonschema, kubernetes-validate (the extra `deploy`), promtool, and a kubectl that knows
components. What is missing is skipped, and said.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tools.dashboard import expressions
from tools.monitoring import ALERTS, RECORDING, ROOT

KUBERNETES_VERSIONS = ("1.31", "1.35")
KUSTOMIZE_SINCE = (4, 2)
"""Since then components work as they do here."""

_KUBERNETES = ROOT / "deploy/kubernetes"
_CRDS = json.loads((Path(__file__).parent / "crds.json").read_text())
"""The fields of custom resources that are used here, by kind, as JSON schemas that know no others."""


class Skip(Exception):  # noqa: N818 (nothing went wrong)
    """A check cannot be made on this machine; the message says why."""


def main() -> int:
    """Run every check; 1 where one fails."""
    failures = 0
    for check in (dockerfile, compose, kubernetes, prometheus, dashboard):
        try:
            print(f"ok       {check.__name__}: {check()}", flush=True)
        except Skip as reason:
            print(f"SKIPPED  {check.__name__}: {reason}", flush=True)
        except AssertionError as error:
            failures += 1
            print(f"FAILED   {check.__name__}: {error}", flush=True)
    return min(failures, 1)


def dockerfile() -> str:
    """The Dockerfile, by hadolint."""
    run("hadolint", "Dockerfile")
    return "hadolint has nothing to say"


def compose() -> str:
    """The compose files, by the Compose Specification's schema."""
    files = sorted(str(path) for path in (ROOT / "docker").glob("compose*.yaml"))
    run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *files)
    return f"{len(files)} files fit the Compose Specification"


def kubernetes() -> str:
    """Every overlay with every set of components, strictly, for two versions of Kubernetes."""
    if (version := kustomize_version()) < KUSTOMIZE_SINCE:
        raise Skip(f"kubectl's kustomize is {'.'.join(map(str, version))}; components need {KUSTOMIZE_SINCE[0]}")
    known: set[str] = set()
    count = 0
    for name, folder in kustomizations():
        for resource in yaml.load_all(run("kubectl", "kustomize", str(folder)), yaml.CSafeLoader):
            text = json.dumps(resource, sort_keys=True)
            if text not in known:
                known.add(text)
                validate(resource, name)
        count += 1
    return f"{count} combinations, {len(known)} different resources, fit Kubernetes {' and '.join(KUBERNETES_VERSIONS)}"


def prometheus() -> str:
    """Rules and alerts, their unit tests, and the configuration."""
    run("promtool", "check", "rules", str(RECORDING), str(ALERTS))
    run("promtool", "test", "rules", *sorted(str(path) for path in (ROOT / "deploy/prometheus/tests").glob("*.yaml")))
    run("promtool", "check", "config", "--syntax-only", "deploy/prometheus/prometheus.yaml")
    return "rules, alerts and their tests pass promtool"


def dashboard() -> str:
    """Every expression of the dashboard is PromQL."""
    rules = [{"record": f"dashboard:{number}", "expr": text} for number, text in enumerate(expressions())]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)
        file.flush()
        run("promtool", "check", "rules", file.name)
    return f"{len(rules)} expressions are PromQL"


def kustomizations() -> Iterator[tuple[str, Path]]:
    """Each overlay with each set of components, and the training job: name and folder, which lives for one turn."""
    components = [path.parent for path in sorted(_KUBERNETES.glob("components/*/kustomization.yaml"))]
    components = [path for path in components if path.name != "external-redis"] + [ROOT / "deploy/grafana"]
    for overlay in sorted(_KUBERNETES.glob("overlays/*")):
        for size in range(len(components) + 1):
            for chosen in itertools.combinations(components, size):
                with tempfile.TemporaryDirectory() as folder:
                    here = Path(folder).resolve()
                    paths = [os.path.relpath(path, here) for path in (overlay, *chosen)]
                    kustomization = {"resources": paths[:1], "components": paths[1:]}
                    (here / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
                    yield "+".join(path.name for path in (overlay, *chosen)), here
    yield "training", _KUBERNETES / "training"


def validate(resource: dict[str, Any], name: str) -> None:
    """Against the schema of its kind; raises AssertionError."""
    try:
        import jsonschema  # noqa: PLC0415 (both come with the extra `deploy`)
        import kubernetes_validate  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise Skip(f"{error.name} is not installed: pip install -e '.[deploy]'") from None

    kind = f"{resource['apiVersion']}/{resource['kind']}"
    try:
        if kind in _CRDS:
            jsonschema.validate(resource, _CRDS[kind])
        else:
            for version in KUBERNETES_VERSIONS:
                kubernetes_validate.validate(resource, version, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        raise AssertionError(f"{name}: {kind} {resource['metadata']['name']}: {error.message}") from None


def kustomize_version() -> tuple[int, ...]:
    """Of kubectl's own kustomize."""
    found = re.search(r"Kustomize Version: v(\d+)\.(\d+)", run("kubectl", "version", "--client"))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def run(program: str, *arguments: str) -> str:
    """Its output; raises Skip where it is not here, and AssertionError with what it said where it fails."""
    beside = Path(sys.executable).parent / program
    path = str(beside) if beside.exists() else shutil.which(program)
    if path is None:
        raise Skip(f"{program} is not installed")
    done = subprocess.run([path, *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise AssertionError(f"{program}: {(done.stdout + done.stderr).strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
