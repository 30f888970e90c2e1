"""A worker follows its registry: tasks come and go, and of versions that come too fast the last is served."""

import errno
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from worker_lab import Hired, all_done, submit, until

from benchmarks.stub import StubLoader, StubRunner, stub_registry
from model.checkpoint import CheckpointError, CheckpointInfo
from model.registry import Registry
from model.tasks import get_task
from service.broker.records import JobState
from service.engine.table import Table
from service.schemas import SolveRequest
from service.settings import Settings
from service.worker.main import Worker
from tests.service.broker.broker_lab import Desk, new_job

Hire = Callable[..., Hired]


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Sudoku alone, in a version that is called stub; workers look every moment."""
    monkeypatch.setattr("service.worker.reload.POLL_S", 0.05)
    return Registry([stub_registry(tmp_path / "registry")])


def serves(worker: Hired) -> list[str]:
    return sorted(task["checkpoint"] for task in worker.worker.describe()["tasks"].values())


def last_load(worker: Hired) -> tuple[str, str]:
    load = worker.worker.describe()["loads"]["sudoku"]
    return load["version"], load["outcome"]


def publish(registry: Registry, version: str) -> None:
    """The stub once more, under another name, and current."""
    root = registry.writable / "sudoku"
    shutil.copytree(root / "stub", root / version)
    registry.use("sudoku", version)


def submit_maze(desk: Desk, job_id: str) -> None:
    puzzle, _ = get_task("maze").examples()[0]
    request = SolveRequest(task="maze", puzzle=puzzle).model_dump_json().encode()
    desk.submit(new_job(job_id, task="maze", request=request))


def test_a_new_task_is_served_and_a_withdrawn_one_is_drained(desk: Desk, hire: Hire, registry: Registry) -> None:
    worker = hire(is_open=False, segments=2, checkpoints=registry.writable)
    until(lambda: serves(worker) == ["sudoku/stub"])
    stub_registry(registry.writable, "maze")
    until(lambda: serves(worker) == ["maze/stub", "sudoku/stub"])
    submit(desk, "held")
    until(lambda: worker.gate.waiting)
    (registry.writable / "sudoku" / "CURRENT").unlink()
    until(lambda: serves(worker) == ["maze/stub"])
    worker.gate.let()
    until(all_done(desk, "held"))
    submit(desk, "too late")
    submit_maze(desk, "of the new task")
    until(all_done(desk, "of the new task"))
    assert desk.state("too late") is JobState.QUEUED
    assert worker.metric("hrm_slots", task="sudoku") == 0


def test_all_tasks_are_loaded_before_a_worker_is_ready(
    hire: Hire, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.worker.reload.POLL_S", 60.0)  # nobody loads later what is missing
    stub_registry(registry.writable, "maze")
    worker = hire(checkpoints=registry.writable)
    until(lambda: worker.worker.ready() != "loading checkpoints")
    assert serves(worker) == ["maze/stub", "sudoku/stub"]


def test_a_worker_that_is_told_to_serve_what_is_not_there_names_it(settings: Settings, registry: Registry) -> None:
    own = settings.model_copy(update={"checkpoints": registry.writable, "tasks": ("mazze",)})
    worker = Worker(own, "worker", StubLoader(own, StubRunner))
    with pytest.raises(CheckpointError, match="no checkpoint of mazze in"):
        worker.run()


def test_a_worker_serves_the_tasks_that_it_is_told_to(desk: Desk, hire: Hire, registry: Registry) -> None:
    stub_registry(registry.writable, "maze")
    worker, other = (hire(checkpoints=registry.writable, tasks=(task,)) for task in ("sudoku", "maze"))
    submit_maze(desk, "m")
    submit(desk, "s")
    until(all_done(desk, "m", "s"))
    assert (serves(worker), serves(other)) == (["sudoku/stub"], ["maze/stub"])
    assert (worker.segments, other.segments) == (1, 0)


def test_a_busy_task_is_fed_while_another_one_is_idle(
    desk: Desk, hire: Hire, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_registry(registry.writable, "maze")
    monkeypatch.setattr("service.worker.fetch.IDLE_WAIT_S", 120.0)
    worker = hire(checkpoints=registry.writable, slots=2)
    names = [f"p{n}" for n in range(40)]
    submit(desk, *names)
    until(all_done(desk, *names))
    assert worker.finished("act") == len(names)
    assert worker.metric("hrm_requests_finished_total", task="maze", reason="act") == 0, "it was idle all the while"
    monkeypatch.setattr("service.worker.fetch.IDLE_WAIT_S", 0.1)
    submit_maze(desk, "the end of the wait")
    submit(desk, "here, too")
    until(all_done(desk, "the end of the wait", "here, too"))


def test_several_workers_converge(hire: Hire, registry: Registry) -> None:
    workers = [hire(checkpoints=registry.writable) for _ in range(3)]
    publish(registry, "two")
    for worker in workers:
        until(lambda worker=worker: serves(worker) == ["sudoku/two"])
        assert worker.worker.describe()["loads"]["sudoku"]["outcome"] == "loaded"
    registry.rollback("sudoku")
    for worker in workers:
        until(lambda worker=worker: serves(worker) == ["sudoku/stub"])


def test_while_an_old_version_holds_puzzles_further_ones_wait_and_the_last_is_loaded(
    desk: Desk, hire: Hire, registry: Registry
) -> None:
    worker = hire(is_open=False, segments=4000, checkpoints=registry.writable)
    submit(desk, "first", max_segments=4000)
    until(lambda: worker.gate.waiting)
    publish(registry, "two")
    until(lambda: serves(worker) == ["sudoku/two"])
    publish(registry, "three")
    submit(desk, "second")
    until(lambda: worker.occupied == 2 or worker.gate.let(1))
    publish(registry, "four")
    worker.gate.let()
    until(all_done(desk, "first", "second"))
    until(lambda: serves(worker) == ["sudoku/four"])
    assert [json.loads(desk.look(name)[1])["checkpoint"] for name in ("first", "second")] == [
        "sudoku/stub",
        "sudoku/two",
    ]
    assert worker.metric("hrm_checkpoint_loads_total", task="sudoku", outcome="loaded") == 3


def test_a_refused_version_is_tried_again_when_current_has_named_another_one(hire: Hire, registry: Registry) -> None:
    worker = hire(checkpoints=registry.writable)
    root = registry.writable / "sudoku"
    shutil.copytree(root / "stub", root / "two")
    config = (root / "two" / "config.json").read_text()
    (root / "two" / "config.json").write_text("{}")

    def load(version: str, outcome: str) -> None:
        (root / "CURRENT.new").write_text(version)
        (root / "CURRENT.new").rename(root / "CURRENT")
        until(lambda: last_load(worker) == (version, outcome))

    until(lambda: serves(worker) == ["sudoku/stub"])
    load("two", "refused")
    (root / "two" / "config.json").write_text(config)
    load("stub", "loaded")
    load("two", "loaded")
    assert serves(worker) == ["sudoku/two"]
    assert worker.metric("hrm_checkpoint_loads_total", task="sudoku", outcome="refused") == 1


def test_a_loading_that_fails_in_a_way_nobody_foresaw_is_a_refusal(
    hire: Hire, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []
    load = StubLoader.load

    def breaks(self: StubLoader, info: CheckpointInfo) -> Table:
        if info.version == "two":
            tries.append(info)
            raise ZeroDivisionError("a strange number\nand many lines more")
        return load(self, info)

    monkeypatch.setattr(StubLoader, "load", breaks)
    worker = hire(checkpoints=registry.writable)
    until(lambda: serves(worker) == ["sudoku/stub"])
    publish(registry, "two")
    until(lambda: last_load(worker) == ("two", "refused"))
    said = worker.worker.describe()["loads"]["sudoku"]["reason"]
    assert said == "sudoku/two: ZeroDivisionError: a strange number"
    publish(registry, "three")
    until(lambda: serves(worker) == ["sudoku/three"])
    assert len(tries) == 1


def test_while_the_registry_cannot_be_read_what_is_served_goes_on(
    hire: Hire, desk: Desk, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = hire(checkpoints=registry.writable)
    until(lambda: serves(worker) == ["sudoku/stub"])
    looks = []

    def stale(self: Registry) -> list[str]:
        looks.append(time.monotonic())
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as away:
        away.setattr(Registry, "tasks", stale)
        until(lambda: len(looks) > 3)
        submit(desk, "meanwhile")
        until(all_done(desk, "meanwhile"))
        assert serves(worker) == ["sudoku/stub"]
    publish(registry, "two")
    until(lambda: serves(worker) == ["sudoku/two"])


def test_a_network_for_another_puzzle_is_refused(hire: Hire, registry: Registry, tmp_path: Path) -> None:
    worker = hire(checkpoints=registry.writable)
    until(lambda: serves(worker) == ["sudoku/stub"])
    root = registry.writable / "sudoku"
    shutil.copytree(stub_registry(tmp_path / "other", "maze") / "maze" / "stub", root / "two")
    (root / "CURRENT.new").write_text("two")
    (root / "CURRENT.new").rename(root / "CURRENT")
    until(lambda: last_load(worker) == ("two", "refused"))
    assert serves(worker) == ["sudoku/stub"]
