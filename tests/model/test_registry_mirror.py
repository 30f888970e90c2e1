"""A registry behind a URL: copied here, verified, followed, and served while the store is away."""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest

from model.checkpoint import CheckpointError
from model.mirror import MirroredRegistry
from model.registry import Registry, RegistryAwayError, UnknownVersionError, open_registry
from model.remote import RemoteDirectory
from tests.model.test_checkpoint import write


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path, tiny) -> Iterator[str]:
    """A store that holds versions 1 and 2, of which 1 is current."""
    url = f"file://{tmp_path}/store" if request.param == "file" else f"memory://{uuid.uuid4().hex}/checkpoints"
    store, root = fsspec.core.url_to_fs(url)
    for version in "12":
        info = write(tmp_path / "made" / version, tiny)
        store.makedirs(f"{root}/sudoku/{version}")
        for file in info.path.iterdir():
            store.put_file(str(file), f"{root}/sudoku/{version}/{file.name}")
    store.pipe_file(f"{root}/sudoku/CURRENT", b"1\n")
    yield url
    store.rm(root, recursive=True)


@pytest.fixture(autouse=True)
def without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked at every call."""
    monkeypatch.setattr("model.mirror._ASK_S", 0.0)


class Store:
    """What somebody else does to the store."""

    def __init__(self, url: str) -> None:
        self.fs, self.root = fsspec.core.url_to_fs(url)

    def write(self, path: str, content: bytes) -> None:
        self.fs.makedirs(f"{self.root}/sudoku/{path}".rpartition("/")[0], exist_ok=True)
        self.fs.pipe_file(f"{self.root}/sudoku/{path}", content)

    def read(self, path: str) -> bytes:
        return self.fs.cat_file(f"{self.root}/sudoku/{path}")

    def names(self, path: str = "") -> set[str]:
        return {name.rpartition("/")[2] for name in self.fs.ls(f"{self.root}/sudoku/{path}".rstrip("/"), detail=False)}

    def remove(self, path: str) -> None:
        self.fs.rm(f"{self.root}/sudoku/{path}", recursive=True)


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


@pytest.fixture
def mirror(url: str, tmp_path: Path) -> Registry:
    return open_registry(url, tmp_path / "cache")


def test_the_current_version_is_copied_and_whole(mirror: Registry, tmp_path: Path) -> None:
    assert mirror.tasks() == ["sudoku"]
    info = mirror.current("sudoku")
    assert info.name == "sudoku/1"
    assert info.path.is_relative_to(tmp_path / "cache")
    info.verify()
    assert info.canaries()
    assert mirror.versions("sudoku") == ["1", "2"]
    assert mirror.glance("sudoku", "2") is None, "what nobody asked for is not copied"


def test_it_follows_the_stores_current(mirror: Registry, store: Store) -> None:
    assert mirror.current_version("sudoku") == "1"
    store.write("CURRENT", b"2\n")
    assert mirror.current("sudoku").name == "sudoku/2"
    store.write("CURRENT", b"")  # just being written
    assert mirror.current_version("sudoku") == "2"
    store.remove("CURRENT")
    assert mirror.tasks() == []


def test_what_is_used_here_is_current_everywhere(mirror: Registry, url: str, store: Store, tmp_path: Path) -> None:
    mirror.use("sudoku", "2")
    assert store.read("CURRENT") == b"2\n"
    elsewhere = open_registry(url, tmp_path / "other-cache")
    assert elsewhere.current("sudoku").name == "sudoku/2"
    assert elsewhere.rollback("sudoku").version == "1"
    assert mirror.current_version("sudoku") == "1"


def test_what_is_written_here_is_shared_as_a_whole(
    mirror: Registry, url: str, store: Store, tiny, tmp_path: Path
) -> None:
    write(mirror.place("sudoku", "3"), tiny)
    assert "3" not in store.names()
    mirror.share("sudoku", "3")
    assert store.names("3") == {"config.json", "model.safetensors", "canary.jsonl"}
    write(mirror.place("sudoku", "4"), tiny)
    mirror.use("sudoku", "4")
    assert open_registry(url, tmp_path / "other-cache").current("sudoku").name == "sudoku/4"


def test_prune_removes_there_and_here(mirror: Registry, store: Store) -> None:
    mirror.use("sudoku", "2")
    store.write("9/config.json", b"{}")
    store.write("10/config.json", b"{}")
    assert mirror.prune("sudoku", keep=1) == ["9"]
    assert {"1", "2", "10"} <= store.names()
    assert "9" not in store.names()


def half_copied(store: Store) -> None:
    store.remove("2/model.safetensors")


def without_config(store: Store) -> None:
    store.remove("2/config.json")


def without_canaries(store: Store) -> None:
    store.remove("2/canary.jsonl")


def truncated(store: Store) -> None:
    store.write("2/model.safetensors", store.read("2/model.safetensors")[:-9])


def altered(store: Store) -> None:
    store.write("2/model.safetensors", store.read("2/model.safetensors")[:-9] + b"tampered!")


def too_large(store: Store) -> None:
    store.write("2/config.json", b" " * (2 << 20))


def claiming_the_whole_disk(store: Store) -> None:
    config = json.loads(store.read("2/config.json"))
    config["weights"]["bytes"] = 1 << 60
    store.write("2/config.json", json.dumps(config).encode())


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (half_copied, "no bytes where config.json says"),
        (without_config, "config.json is missing"),
        (without_canaries, "canary.jsonl: missing"),
        (truncated, "half-copied"),
        (altered, "sha256"),
        (too_large, "larger than"),
        (claiming_the_whole_disk, "where config.json says"),
    ],
)
def test_a_bad_version_is_refused_with_its_reason(mirror: Registry, store: Store, spoil, reason: str) -> None:
    mirror.current("sudoku")
    spoil(store)
    store.write("CURRENT", b"2\n")
    assert mirror.current_version("sudoku") == "2"
    with pytest.raises(CheckpointError, match=reason):
        mirror.current("sudoku")
    assert mirror.get("sudoku", "1").name == "sudoku/1"
    assert not [path for path in mirror.writable.rglob("*") if "partial" in path.name]


@pytest.mark.parametrize("spoil", [half_copied, without_config, without_canaries, truncated])
def test_a_version_seen_half_copied_is_taken_once_it_is_whole(mirror: Registry, store: Store, spoil) -> None:
    whole = {name: store.read(f"2/{name}") for name in store.names("2")}
    spoil(store)
    store.write("CURRENT", b"2\n")
    for _ in range(2):
        with pytest.raises(CheckpointError):
            mirror.current("sudoku")
    for name, content in whole.items():
        store.write(f"2/{name}", content)
    mirror.current("sudoku").verify()


def test_a_version_that_the_disk_had_no_room_for_is_copied_once_it_has(
    mirror: Registry, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write("CURRENT", b"2\n")
    with monkeypatch.context() as full:
        full.setattr("model.mirror.shutil.disk_usage", lambda _: SimpleNamespace(free=10))
        with pytest.raises(CheckpointError, match="10 are free"):
            mirror.current("sudoku")
    assert mirror.current("sudoku").version == "2"


def test_an_altered_version_is_copied_once_until_current_has_named_another(
    url: str, mirror: Registry, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, copied = store.read("2/model.safetensors"), []
    fetch = RemoteDirectory.fetch

    def counted(self: RemoteDirectory, path: str, target: Path) -> None:
        copied.append(path)
        fetch(self, path, target)

    monkeypatch.setattr(RemoteDirectory, "fetch", counted)
    altered(store)
    store.write("CURRENT", b"2\n")
    beside = open_registry(url, tmp_path / "cache")
    for _ in range(3):
        for registry in (mirror, beside):
            with pytest.raises(CheckpointError, match="sha256"):
                registry.current("sudoku")
    assert copied.count("sudoku/2/model.safetensors") == 2, "once a process"
    store.write("2/model.safetensors", good)
    for version in ("1", "2"):
        store.write("CURRENT", f"{version}\n".encode())
        for registry in (mirror, beside):
            assert registry.current("sudoku").version == version


def test_an_altered_version_that_was_mended_can_be_used_after_another(mirror: Registry, store: Store) -> None:
    good = store.read("2/model.safetensors")
    altered(store)
    with pytest.raises(CheckpointError, match="sha256"):
        mirror.use("sudoku", "2")
    store.write("2/model.safetensors", good)
    mirror.use("sudoku", "1")
    assert mirror.use("sudoku", "2").version == "2"


def test_what_was_copied_is_served_while_the_store_is_away(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = open_registry(url, tmp_path / "cache")
    mirror.current("sudoku")

    def away(*_: object, **__: object) -> None:
        raise OSError("connection refused")

    fs = type(fsspec.core.url_to_fs(url)[0])
    with monkeypatch.context() as outage:
        for name in ("ls", "cat_file", "size", "pipe_file"):
            outage.setattr(fs, name, away)
        for registry in (mirror, open_registry(url, tmp_path / "cache")):
            assert registry.tasks() == ["sudoku"]
            assert registry.current("sudoku").name == "sudoku/1"
            with pytest.raises(RegistryAwayError, match="connection refused"):
                registry.use("sudoku", "1")
    assert len([line for line in caplog.messages if "connection refused" in line]) == 2, "said once a process"


def test_names_from_the_store_cannot_leave_the_cache(mirror: Registry, store: Store) -> None:
    store.write("CURRENT", b"../../etc\n")
    with pytest.raises(CheckpointError, match="does not name a version"):
        mirror.current("sudoku")
    with pytest.raises(CheckpointError, match="not a possible name"):
        mirror.get("sudoku", "../1")


def test_an_unknown_version_is_unknown(mirror: Registry) -> None:
    with pytest.raises(UnknownVersionError):
        mirror.get("sudoku", "77")


def test_shipped_checkpoints_lie_under_it(url: str, store: Store, tmp_path: Path, tiny) -> None:
    write(tmp_path / "shipped" / "sudoku" / "0", tiny)
    mirror = MirroredRegistry(url, tmp_path / "cache", [tmp_path / "shipped"])
    mirror.use("sudoku", "0")
    assert store.read("CURRENT") == b"0\n"
    assert "0" not in store.names()
    assert mirror.current("sudoku").path == tmp_path / "shipped" / "sudoku" / "0"


def test_the_store_is_asked_once_a_second(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.mirror._ASK_S", 60.0)
    mirror = open_registry(url, tmp_path / "cache")
    assert mirror.tasks() == ["sudoku"]
    Store(url).write("CURRENT", b"2\n")
    assert mirror.current_version("sudoku") == "1"


def test_a_cache_can_be_thrown_away(url: str, tmp_path: Path) -> None:
    open_registry(url, tmp_path / "cache").current("sudoku")
    shutil.rmtree(tmp_path / "cache")
    assert open_registry(url, tmp_path / "cache").current("sudoku").name == "sudoku/1"


@pytest.mark.parametrize("url", ["nonsense://bucket/x", "s3://bucket/x"])
def test_a_url_that_nothing_here_can_read_is_one_line(url: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="pip install 'hrm-serve\\[remote\\]'") as refusal:
        open_registry(url, tmp_path)
    assert len(str(refusal.value).splitlines()) == 1


def test_a_path_is_a_registry_on_disk(tmp_path: Path) -> None:
    assert type(open_registry(tmp_path, tmp_path / "cache")) is Registry
    assert open_registry(str(tmp_path), tmp_path / "cache").writable == tmp_path
