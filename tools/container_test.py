"""Build the images and run them as an operator would: by compose and by `podman play kube` (`make container-test`).

Where no registry can be reached, images made of Debian's packages stand in for python:3.11-slim and for Valkey; set
BASE_IMAGE and VALKEY_IMAGE to use others. Takes some ten minutes on two cores.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import yaml

from model.registry import SHIPPED, Registry
from tests.conftest import PUZZLE, write_tiny
from tools.monitoring import ROOT
from tools.podman import Podman, PodmanError

PROJECT = "hrm-test"
IMAGES = {target: f"localhost/hrm-serve/{target}:0.1.0" for target in ("api", "worker-cpu")}
READY_TIMEOUT_S = 600.0
"""Compiling takes its time where others want the cores, too."""
PASSWORD = "not-a-secret"  # noqa: S105


def main() -> int:
    """Run it all; 1 where something fails."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="hrm-containers-") as scratch:
        podman = Podman(Path(scratch))
        try:
            build(podman)
            compose(podman, Path(scratch))
            play_kube(podman, Path(scratch))
        except (AssertionError, PodmanError) as error:
            say(f"FAILED: {error}")
            return 1
    say("passed")
    return 0


def build(podman: Podman) -> None:
    """Build api and worker-cpu, and say how large they are."""
    base = podman.python_image()
    say(f"base image: {podman.megabytes(base)} MB")
    for target, image in IMAGES.items():
        podman.build(target, image, base)
        say(f"built {target}: {podman.megabytes(image)} MB")
    assert podman.megabytes(IMAGES["api"]) < 300, "the API's image must stay below 300 MB"


def compose(podman: Podman, scratch: Path) -> None:
    """docker/compose.yaml: solve through the published port, kill the worker, solve again."""
    port = free_ports(1)[0]
    environment = scratch / "env"
    environment.write_text(
        f"API_IMAGE={IMAGES['api']}\nWORKER_IMAGE={IMAGES['worker-cpu']}\nVALKEY_IMAGE={podman.valkey_image()}\n"
        f"API_PUBLISH=127.0.0.1:{port}\n"
    )
    try:
        podman.compose(PROJECT, environment, "up", "--detach", "--no-build")
        fill_registry(podman, f"{PROJECT}_registry")
        solve(port)
        say("compose: solved through the published port")
        # As a crash would; after `podman kill` no container is started again.
        os.kill(int(podman("inspect", "--format", "{{.State.Pid}}", f"{PROJECT}_worker_1")), signal.SIGKILL)
        solve(port)
        say("compose: killed the worker, solved again")
    finally:
        with suppress(PodmanError):
            podman.compose(PROJECT, environment, "down", "--volumes")


def play_kube(podman: Podman, scratch: Path) -> None:
    """API and worker of the overlay `cpu`, as they are rendered, beside a Valkey of ours."""
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(ROOT / "deploy/kubernetes/overlays/cpu")], capture_output=True, check=True
    ).stdout
    manifests = [
        one
        for one in yaml.safe_load_all(rendered)
        if one["kind"] in ("Deployment", "ConfigMap", "PersistentVolumeClaim")
    ]
    port = publish(manifests)
    file = scratch / "kube.yaml"
    file.write_text(yaml.safe_dump_all(manifests))
    url = f"redis://:{PASSWORD}@hrm-queue:6379/0".encode()
    try:
        podman("network", "create", PROJECT)
        # Podman 4.3 keeps a Secret as a JSON object of base64.
        podman("secret", "create", "hrm-queue", "-", text=json.dumps({"url": base64.b64encode(url).decode()}))
        queue = ["valkey-server", "--requirepass", PASSWORD, "--appendonly", "yes"]
        podman("run", "--detach", "--name", "hrm-queue", "--network", PROJECT, podman.valkey_image(), *queue)
        podman("play", "kube", "--network", PROJECT, str(file))
        fill_registry(podman, "hrm-registry")
        solve(port)
        say("play kube: the rendered API and worker solved")
    finally:
        for clean_up in (
            ["play", "kube", "--down", str(file)],
            ["rm", "--force", "hrm-queue"],
            ["volume", "rm", "hrm-registry"],
            ["secret", "rm", "hrm-queue"],
            ["network", "rm", PROJECT],
        ):
            with suppress(PodmanError):
                podman(*clean_up)


def publish(manifests: list[dict[str, Any]]) -> int:
    """Give every container port a free port of this machine, which all pods share here; returns the API's."""
    published: dict[tuple[str, str], int] = {}
    for manifest in manifests:
        if manifest["kind"] != "Deployment":
            continue
        manifest["spec"]["replicas"] = 1
        ports = manifest["spec"]["template"]["spec"]["containers"][0]["ports"]
        for port, free in zip(ports, free_ports(len(ports)), strict=True):
            port |= {"hostPort": free, "hostIP": "127.0.0.1"}
            published[manifest["metadata"]["name"], port["name"]] = free
    return published["hrm-api", "http"]


def fill_registry(podman: Podman, volume: str) -> None:
    """Put a small checkpoint into the registry's volume, where none ships with the images."""
    if "sudoku" in Registry([SHIPPED]).tasks():
        return
    root = Path(podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume).strip())
    write_tiny(root, "tiny", seed=0)
    Registry([root]).use("sudoku", "tiny")


def solve(port: int) -> None:
    """Wait for a worker, and have it solve a puzzle."""
    url = f"http://127.0.0.1:{port}"
    until_ready(url)
    body = {"task": "sudoku", "puzzle": PUZZLE, "timeout_s": 300}  # as long as a worker may take to come back
    response = httpx.post(f"{url}/solve", json=body, timeout=READY_TIMEOUT_S)
    assert response.status_code == 200, response.text
    answer = response.json()
    if "sudoku" in Registry([SHIPPED]).tasks():
        assert answer["valid"], answer
    assert len(answer["solution"]) == 81, answer


def until_ready(url: str) -> None:
    """Until a live, warm worker serves Sudoku."""
    give_up = time.monotonic() + READY_TIMEOUT_S
    last = ""
    while time.monotonic() < give_up:
        try:
            response = httpx.get(f"{url}/readyz?task=sudoku", timeout=5)
        except httpx.HTTPError as error:
            last = str(error)
        else:
            if response.status_code == 200:
                return
            last = response.text
        time.sleep(1)
    raise AssertionError(f"not ready within {READY_TIMEOUT_S:g} s: {last}")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def say(text: str) -> None:
    """One line of progress."""
    print(f"container-test: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
