"""How much memory may still be taken."""

from pathlib import Path

import torch

from model.device import cgroup_room, free_memory

GB = 1 << 30


def group(path: Path, limit: str, used: int, kept: int) -> None:
    """A control group as Linux shows it."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "memory.max").write_text(f"{limit}\n")
    (path / "memory.current").write_text(f"{used}\n")
    (path / "memory.stat").write_text(f"anon {used - kept}\nfile {kept}\ninactive_file {kept}\n")


def own(tmp_path: Path, text: str) -> Path:
    (tmp_path / "self").write_text(text)
    return tmp_path / "self"


def test_every_group_around_this_process_bounds_it(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root / "pods" / "worker", str(4 * GB), 3 * GB, kept=GB)
    group(root / "pods", str(3 * GB), 2 * GB, kept=0)
    assert cgroup_room(root, own(tmp_path, "1:name=systemd:/elsewhere\n0::/pods/worker\n")) == [2 * GB, GB]


def test_in_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root, str(GB), 2 * GB, kept=0)
    assert cgroup_room(root, own(tmp_path, "0::/\n")) == [0]
    assert cgroup_room(root, own(tmp_path, "0::/a/path/of/the/host\n")) == [0]


def test_no_limit_is_no_bound(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root / "session", "max", GB, kept=0)
    assert cgroup_room(root, own(tmp_path, "0::/session\n")) == []
    assert cgroup_room(root, tmp_path / "nothing") == []


def test_the_free_memory_of_a_cpu_is_what_the_narrowest_bound_leaves(monkeypatch) -> None:
    monkeypatch.setattr("model.device.cgroup_room", lambda: [3 * GB, 1000])
    assert free_memory(torch.device("cpu")) == 1000
    monkeypatch.setattr("model.device.cgroup_room", list)
    assert free_memory(torch.device("cpu")) > 1000
