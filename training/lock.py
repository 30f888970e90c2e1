"""One fit at a time in a run's directory."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

from training.errors import RunError
from training.run_files import LOCK_FILE
from training.world import World


@contextmanager
def only_fit_in(run_dir: Path, world: World) -> Iterator[None]:
    """Keep other fits out of a run's directory; called by all processes, of which the first holds the lock.

    The kernel lets go of it when that process ends, however it ends.

    Raises:
        RunError: In every process: another fit is in there, or the directory cannot be written.
    """
    held = _lock(run_dir) if world.is_first else nullcontext()
    refused = world.any(isinstance(held, RunError))
    if isinstance(held, RunError):
        raise held
    if refused:
        raise RunError(f"{run_dir} cannot be used, as process 0 says")
    with held:
        yield


def _lock(run_dir: Path) -> IO[str] | RunError:
    """The open lock file; or the error, so that the other processes hear of it before it is raised."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        file = (run_dir / LOCK_FILE).open("a")
    except OSError as error:
        return RunError(f"{run_dir}: {error.strerror}")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return RunError(f"{run_dir} is in use by another fit")
    except OSError:
        pass  # a file system that knows no locks: better trained without one than not at all
    return file
