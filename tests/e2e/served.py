"""`hrm` as real processes: one that serves, and ones that run to their end."""

import asyncio
import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.cluster import HRM
from tests.conftest import PUZZLE


class Service:
    """One `hrm serve`."""

    def __init__(self, state_dir: Path, checkpoints: Path, *flags: str) -> None:
        self._log = state_dir / "serve.log"
        command = [*HRM, "serve", "--port", "0", "--state-dir", str(state_dir), "--checkpoints", str(checkpoints)]
        command += ["--device", "cpu", "--backend", "torch", "--compile", "off", "--slots", "8", *flags]
        with self._log.open("w") as log:
            self.process = psutil.Popen(command, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
        self._family: set[psutil.Process] = set()

    @property
    def log(self) -> str:
        """What it and its children have said so far."""
        return self._log.read_text()

    @property
    def url(self) -> str:
        """Where it listens; known once it says so."""
        found = re.search(r"listening on (http://[\w.:\[\]]+)", self.log)
        return found[1] if found else ""

    def ready(self) -> bool:
        """Whether a puzzle would be answered now."""
        try:
            return bool(self.url) and httpx.get(f"{self.url}/readyz?task=sudoku").status_code == 200
        except httpx.TransportError:
            return False

    def children(self, word: str) -> list[psutil.Process]:
        """The processes it started that live, with `word` in their command line."""
        self._family |= set(self.process.children(recursive=True))
        return [child for child in self.process.children() if word in _command_line(child)]

    def kill(self, word: str) -> None:
        """SIGKILL one child."""
        self.children(word)[0].kill()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and return its exit code."""
        self.children("")
        self.process.send_signal(number)
        return int(self.process.wait(30))

    def orphans(self) -> list[psutil.Process]:
        """Which of its children outlived it."""
        return psutil.wait_procs(self._family, timeout=5)[1]


def _command_line(process: psutil.Process) -> str:
    """What it runs; nothing once it has ended, whether or not its parent has looked."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


async def ask(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """One caller with a connection of its own. Bare sockets: a client library's pool is no match for thousands."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    body = json.dumps({"task": "sudoku", "puzzle": PUZZLE, **options})
    try:
        writer.write(f"POST /solve HTTP/1.0\r\nHost: test\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    return int(head.split()[1]), json.loads(answer)


def hrm(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run `hrm` to its end."""
    return subprocess.run([*HRM, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)
