"""Podman as Debian 12 has it, and images that stand in for those of a registry that cannot be reached."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tools.monitoring import ROOT

_CONTAINERS_CONF = """[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""

_PYTHON = "ca-certificates,python3,python3-venv,python3-pip,python-is-python3"
# Python's headers alone, which python:3.11-slim has, too.
_HEADERS = """FROM localhost/hrm-test/debian
RUN apt-get update && cd /tmp && apt-get download libpython3.11-dev && dpkg -x libpython3.11-dev*.deb headers \\
 && cp -r headers/usr/include /usr \\
 && rm -rf /tmp/* /var/lib/apt/lists/* /var/cache/apt/* /usr/share/doc /usr/share/locale
"""
_VALKEY = """FROM localhost/hrm-test/python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends redis-server \\
 && ln -s redis-server /usr/bin/valkey-server && ln -s redis-cli /usr/bin/valkey-cli && install -d -o redis /data
USER redis
WORKDIR /data
"""


class PodmanError(Exception):
    """Podman failed; the message holds the command and what it said."""


class Podman:
    """Runs podman and podman-compose with a configuration of their own."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        configuration = scratch / "containers.conf"
        configuration.write_text(_CONTAINERS_CONF)
        self._environment = os.environ | {"CONTAINERS_CONF": str(configuration)}

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        """Run podman and return what it printed; raises PodmanError."""
        return self._run(["nice", "podman", *arguments], text)

    def compose(self, project: str, environment: Path, *arguments: str) -> str:
        """Run podman-compose on docker/compose.yaml."""
        file = str(ROOT / "docker/compose.yaml")
        return self._run(["podman-compose", "-p", project, "-f", file, "--env-file", str(environment), *arguments])

    def has(self, image: str) -> bool:
        """Whether an image is here."""
        return bool(self("images", "--quiet", image).strip())

    def megabytes(self, image: str) -> int:
        """The size of an image."""
        return int(self("image", "inspect", "--format", "{{.Size}}", image)) // 1_000_000

    def build(self, target: str, image: str, base: str) -> None:
        """Build a target of the Dockerfile; pip finds its packages as it does here."""
        secret, mounts = self._pip()
        options = [f"--volume={path}:{path}:ro" for path in mounts]
        options += ["--build-arg", f"BASE_IMAGE={base}", f"--secret=id=pip_conf,src={secret}"]
        if "PIP_FIND_LINKS" in os.environ:  # a torch for the CPU lies there
            options += ["--build-arg", "TORCH_INDEX="]
        self._build("--target", target, "--tag", image, *options, str(ROOT))

    def python_image(self) -> str:
        """What the images are built on: $BASE_IMAGE, or a Debian with the same Python."""
        image = os.environ.get("BASE_IMAGE", "localhost/hrm-test/python:3.11-slim")
        if "BASE_IMAGE" not in os.environ and not self.has(image):
            root, archive = self._scratch / "debian", self._scratch / "debian.tar"
            self._run(["nice", "debootstrap", "--variant=minbase", f"--include={_PYTHON}", "bookworm", str(root)])
            self._run(["tar", "--directory", str(root), "--create", "--file", str(archive), "."])
            self("import", str(archive), "localhost/hrm-test/debian")
            self._build("--squash-all", "--tag", image, "--file", self._write("python", _HEADERS), str(self._scratch))
        return image

    def valkey_image(self) -> str:
        """The queue's image: $VALKEY_IMAGE, or Debian's Redis under Valkey's names."""
        image = os.environ.get("VALKEY_IMAGE", "localhost/hrm-test/valkey:8")
        if "VALKEY_IMAGE" not in os.environ and not self.has(image):
            self._build("--tag", image, "--file", self._write("valkey", _VALKEY), str(self._scratch))
        return image

    def _build(self, *arguments: str) -> None:
        self("build", "--format", "docker", "--network", "host", *arguments)

    def _pip(self) -> tuple[Path, set[str]]:
        """The PIP_* variables as a configuration file, and the local paths that they name."""
        options = {
            name[4:].lower().replace("_", "-"): value for name, value in os.environ.items() if name[:4] == "PIP_"
        }
        lines = ["[global]", *(f"{name} = {value}" for name, value in options.items())]
        path = self._scratch / "pip.conf"
        path.write_text("\n".join(lines) + "\n")
        words = {word.removeprefix("file://") for value in options.values() for word in value.split()}
        return path, {word for word in words if word.startswith("/") and Path(word).exists()}

    def _write(self, name: str, text: str) -> str:
        path = self._scratch / f"{name}.Containerfile"
        path.write_text(text)
        return str(path)

    def _run(self, command: list[str], text: str | None = None) -> str:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, env=self._environment, cwd=ROOT
        )
        if done.returncode != 0:
            said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise PodmanError(f"{' '.join(command)}\n{said}")
        return done.stdout
