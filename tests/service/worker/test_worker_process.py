"""A worker as a process: it says that it is stuck, and ends when it is; it ends when it is broken."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from worker_lab import all_done, submit, until

from service.settings import Settings
from service.worker.watchdog import EXIT_BROKEN, EXIT_STUCK
from tests.service.broker.broker_lab import Desk


class Process:
    """`hrm worker` with a stub in the network's place."""

    def __init__(self, settings: Settings, log: Path, *flags: str) -> None:
        self._log = log
        command = [sys.executable, "-m", "benchmarks.stub_worker", "--probe-port", "0", *flags]
        given = {"redis_url": settings.redis_url.get_secret_value(), "checkpoints": settings.checkpoints}
        environment = {f"HRM_{name.upper()}": str(value) for name, value in given.items()}
        with log.open("w") as file:
            self.process = psutil.Popen(command, env=os.environ | environment, stderr=file)

    @property
    def log(self) -> str:
        return self._log.read_text()

    def probe(self, path: str) -> httpx.Response:
        """Ask its probes, once they listen."""
        port = until(lambda: re.search(r"probes listen port=(\d+)", self.log))[1]
        return httpx.get(f"http://127.0.0.1:{port}{path}")

    def ended(self) -> int:
        return int(self.process.wait(30))


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def start(*flags: str) -> Process:
        processes.append(Process(settings, tmp_path / f"worker-{len(processes)}.log", *flags))
        return processes[-1]

    yield start
    for process in processes:
        if process.process.is_running():
            process.process.kill()
            process.process.wait()


def test_a_segment_that_never_ends_turns_livez_to_503_and_then_ends_the_worker(
    desk: Desk, start: Callable[..., Process]
) -> None:
    stuck = start("--segment-s", "3600", "--stall-timeout-s", "1")
    until(lambda: stuck.probe("/readyz").status_code == 200)
    assert stuck.probe("/livez").status_code == 200
    submit(desk, "a")
    response = until(lambda: found if (found := stuck.probe("/livez")).status_code == 503 else None)
    assert "with 1 live slots" in response.text
    assert stuck.ended() == EXIT_STUCK
    assert "ending a stuck worker" in stuck.log
    assert "in collect" in stuck.log, "where it was stuck"


def test_puzzles_of_a_stopped_worker_are_answered_elsewhere_within_a_lease_and_five_seconds(
    desk: Desk, start: Callable[..., Process]
) -> None:
    frozen, other = (start("--lease-s", "1", "--segment-s", "0.05", "--slots", "64") for _ in range(2))
    for worker in (frozen, other):
        until(lambda worker=worker: worker.probe("/readyz").status_code == 200)
    names = [f"p{n}" for n in range(128)]
    submit(desk, *names, mode="fixed", max_segments=20)
    until(lambda: 'hrm_slots_occupied{task="sudoku"} 0.0' not in frozen.probe("/metrics").text)
    frozen.process.send_signal(signal.SIGSTOP)
    until(all_done(desk, *names), within_s=1 + 5)
    frozen.process.send_signal(signal.SIGCONT)
    until(lambda: 'hrm_slots_occupied{task="sudoku"} 0.0' in frozen.probe("/metrics").text)
    assert sorted(reply["id"] for reply in desk.replies()) == sorted(names)
    frozen.process.send_signal(signal.SIGTERM)
    assert frozen.ended() == 0


def test_a_thread_that_fails_ends_its_process() -> None:
    code = """
import threading, time
from service.worker.watchdog import end_on_failed_threads
end_on_failed_threads()
threading.Thread(target=lambda: 1 / 0, name="fetch").start()
time.sleep(30)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == EXIT_BROKEN
    assert "the thread fetch failed" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr


def test_a_taken_probe_port_is_told_in_one_line(start: Callable[..., Process]) -> None:
    first = start()
    until(lambda: first.probe("/livez").status_code == 200)
    port = re.search(r"probes listen port=(\d+)", first.log)[1]
    second = start("--probe-port", port)
    assert second.ended() == 1
    assert "HRM_PROBE_PORT: cannot listen on port" in second.log


def test_a_worker_with_a_wrong_password_says_so_and_is_not_ready(
    settings: Settings, start: Callable[..., Process]
) -> None:
    url = settings.redis_url.get_secret_value().replace("unix://", "unix://:hunter2@")
    refused = start("--redis-url", url)
    until(lambda: "Redis does not answer" in refused.log)
    response = refused.probe("/readyz")
    assert (response.status_code, response.text) == (503, "Redis has not answered yet\n")
    assert "AUTH" in refused.log, "what Redis had to say"
    assert "hunter2" not in refused.log
