"""Children are kept alive and ended in order: with real processes that do as little as possible."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from service.supervisor import ChildFailedError, Patience, Role, describe_exit, launch, supervise

QUICK = Patience(first_pause_s=0.02, longest_pause_s=0.1, healthy_s=5.0, short_lives=4)
STEADY = 'trap "echo {name} ends >> {log}; exit 0" TERM; echo {name} $$ >> {log}; while :; do sleep 0.01; done'
STUBBORN = 'trap "" TERM; echo {name} $$ >> {log}; while :; do sleep 0.01; done'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def role(log: Path) -> Callable[..., Role]:
    """A role whose lives run a shell script that writes to the log."""

    def role(name: str, script: str, **more: object) -> Role:
        text = script.format(name=name, log=log)
        return Role(name, lambda life: launch(["sh", "-c", text], {**os.environ, "LIFE": str(life)}), **more)

    return role


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def pids(log: Path, name: str) -> list[int]:
    lines = [line.split() for line in log.read_text().splitlines()]
    return [int(number) for word, number in lines if word == name and number.isdigit()]


async def supervise_while(work: Callable[[], object], *roles: Role, patience: Patience = QUICK) -> None:
    """Supervise in this process until `work` is done, then SIGTERM."""
    supervising = asyncio.create_task(supervise([roles], patience))
    await work()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await supervising


async def test_a_dead_child_is_started_again_and_its_death_is_told(log: Path, role: Callable[..., Role]) -> None:
    deaths: list[int] = []

    async def told(life: int) -> None:
        deaths.append(life)

    async def kill_twice() -> None:
        for lives in (1, 2):
            await until(lambda n=lives: len(pids(log, "worker")) == n)
            os.kill(pids(log, "worker")[-1], signal.SIGKILL)
        await until(lambda: len(pids(log, "worker")) == 3)

    await supervise_while(kill_twice, role("worker", STEADY, after_death=told))
    assert deaths == [1, 2]
    assert len(set(pids(log, "worker"))) == 3


async def test_the_end_comes_group_by_group(log: Path, role: Callable[..., Role]) -> None:
    lingering = STEADY.replace('"echo', '"sleep 2; echo')
    groups = [[role("api", lingering), role("worker", STEADY)], [role("valkey", STEADY)]]
    supervising = asyncio.create_task(supervise(groups, QUICK))
    await until(lambda: log.read_text().count("\n") == 3)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await supervising
    assert log.read_text().splitlines()[3:] == ["worker ends", "api ends", "valkey ends"]


async def test_a_child_that_ignores_sigterm_is_killed_after_its_grace(log: Path, role: Callable[..., Role]) -> None:
    async def alive() -> None:
        await until(lambda: pids(log, "worker"))

    start = time.monotonic()
    await supervise_while(alive, role("worker", STUBBORN, grace_s=0.2))
    assert time.monotonic() - start < 5
    assert not psutil.pid_exists(pids(log, "worker")[0])


async def test_a_second_signal_does_not_wait_for_the_grace(log: Path, role: Callable[..., Role]) -> None:
    supervising = asyncio.create_task(supervise([[role("worker", STUBBORN, grace_s=60)]], QUICK))
    await until(lambda: pids(log, "worker"))
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.sleep(0.05)
    assert not supervising.done()
    os.kill(os.getpid(), signal.SIGINT)
    async with asyncio.timeout(5):
        await supervising


async def test_a_child_that_cannot_be_kept_alive_ends_everything(log: Path, role: Callable[..., Role]) -> None:
    roles = [role("api", STEADY), role("worker", "echo worker $$ >> {log}; exit 3")]
    with pytest.raises(ChildFailedError, match=r"the worker cannot be kept alive: it ended 4 times .* exit code 3"):
        await supervise([roles], QUICK)
    assert len(pids(log, "worker")) == 4
    assert not any(map(psutil.pid_exists, pids(log, "api")))


@pytest.mark.parametrize("thinks_s", [0, 0.2], ids=["at once", "slowly"])
async def test_a_child_that_refuses_its_settings_is_not_tried_again(
    log: Path, role: Callable[..., Role], thinks_s: float
) -> None:
    script = f"echo worker $$ >> {{log}}; sleep {thinks_s}; exit 2"
    with pytest.raises(ChildFailedError, match="the worker refused to start") as caught:
        await supervise([[role("worker", script)]], Patience(0.01, 0.02, healthy_s=0.1, short_lives=3))
    assert caught.value.exit_code == 2
    assert len(pids(log, "worker")) == 1


async def test_what_cannot_even_be_started_is_tried_again_and_given_up() -> None:
    missing = Role("worker", lambda life: launch(["/nowhere/hrm"], {}))
    with pytest.raises(ChildFailedError, match="it ended 4 times in a row"):
        await supervise([[missing]], QUICK)


async def test_a_healthy_life_forgives_what_was_before(log: Path, role: Callable[..., Role]) -> None:
    """Two short lives, a healthy one, two short lives, ...: never three in a row."""
    script = "echo worker $$ >> {log}; [ $((LIFE % 3)) = 0 ] && sleep 0.15; exit 1"

    async def ten_lives() -> None:
        await until(lambda: len(pids(log, "worker")) >= 10)

    await supervise_while(
        ten_lives, role("worker", script), patience=Patience(0.01, 0.02, healthy_s=0.1, short_lives=3)
    )
    assert len(pids(log, "worker")) >= 10


def test_the_pause_doubles_up_to_its_limit() -> None:
    assert [Patience(0.2, 1.0).pause(failures) for failures in range(6)] == [0.2, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    child = (
        "import time; from service.lifeline import hold_lifeline; hold_lifeline(); print(1, flush=True); time.sleep(60)"
    )
    parent = f"""
import asyncio, os, sys
from service.supervisor import Role, launch, supervise
asyncio.run(supervise([[Role("child", lambda life: launch([sys.executable, "-c", {child!r}], os.environ))]]))
"""
    supervisor = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    assert supervisor.stdout
    assert supervisor.stdout.readline() == b"1\n"
    (orphan,) = psutil.Process(supervisor.pid).children()
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    psutil.wait_procs([orphan], timeout=5)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE


def test_exits_in_words() -> None:
    assert [describe_exit(code) for code in (1, -9, -15)] == ["exit code 1", "SIGKILL", "SIGTERM"]


async def test_a_child_that_waits_to_be_started_again_is_not(log: Path, role: Callable[..., Role]) -> None:
    patience = Patience(first_pause_s=0.3)
    lingering = STEADY.replace('"echo', '"sleep 0.6; echo')
    roles = [role("api", lingering), role("worker", "echo worker $$ >> {log}; exit 1")]

    async def worker_died() -> None:
        await until(lambda: pids(log, "api") and pids(log, "worker"))
        await until(lambda: not psutil.pid_exists(pids(log, "worker")[0]))

    await supervise_while(worker_died, *roles, patience=patience)
    assert len(pids(log, "worker")) == 1
