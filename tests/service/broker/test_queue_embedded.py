"""The server that `hrm serve` brings along."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis
from broker_lab import until

from service.broker.embedded import EmbeddedServer, EmbeddedServerError, server_binary


def test_it_keeps_what_it_has_and_its_place(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        url = server.url
        client.set("k", "v")
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("port") == {"port": "0"}
    assert server.pid is None
    with EmbeddedServer(tmp_path) as again, redis.Redis.from_url(url) as client:
        assert again.url == url
        assert client.get("k") == b"v"


def test_two_servers_cannot_share_a_state_directory(tmp_path: Path) -> None:
    with (
        EmbeddedServer(tmp_path) as first,
        pytest.raises(EmbeddedServerError, match="in use by another server"),
        EmbeddedServer(tmp_path),
    ):
        pass
    assert first.pid is None
    with EmbeddedServer(tmp_path):
        pass


def test_it_can_be_started_again_after_it_died(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server:
        pid = server.pid
        assert pid is not None
        assert server.start().pid == pid, "it runs already"
        os.kill(pid, signal.SIGKILL)
        until(lambda: server.pid is None)
        assert server.start().pid not in (None, pid)
        with redis.Redis.from_url(server.url) as client:
            assert client.ping()


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    state = tmp_path / ("deep" * 20) / ("er" * 20)
    with EmbeddedServer(state) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert list(state.glob("appendonly*"))
        assert len(server.url) < 100


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom service.broker.embedded import EmbeddedServer\n"
        "print(EmbeddedServer(Path(sys.argv[1])).start().pid, flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    until(lambda: _is_gone(pid))
    until(lambda: _starts(tmp_path))


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _starts(state_dir: Path) -> bool:
    try:
        with EmbeddedServer(state_dir):
            return True
    except EmbeddedServerError:
        return False


def test_no_server_to_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="HRM_REDIS_URL"):
        server_binary()
    (tmp_path / "redis-server").write_text("")
    (tmp_path / "redis-server").chmod(0o755)
    assert server_binary() == tmp_path / "redis-server"


def test_a_server_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("not a directory")
    (tmp_path / "appendonly.aof").mkdir()  # what Redis 6.2 writes
    with pytest.raises(EmbeddedServerError, match=r"ended at its start: .*(append|AOF)"):
        EmbeddedServer(tmp_path).start()


def test_a_state_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedServerError, match="cannot be used"):
        EmbeddedServer(tmp_path / "file").start()
