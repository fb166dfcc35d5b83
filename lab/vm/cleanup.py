"""Run folders that clean up after a killed owner: the next start of the lab finds and removes them.

A folder is in use as long as a process holds a lock on its marker file: its owner, or the supervisor of a guest in it. The
kernel releases the lock when the process ends, however it ends, so locks cannot be stale.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

MARKER = ".lab-run"
_ROOT_LOCK = ".lock"
_DOOMED = ".doomed-"


class RunFolder:
    """A folder for what a run makes: sockets, overlays, logs. Made by :meth:`create`.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def create(cls, root: Path, prefix: str) -> RunFolder:
        """Make a new folder ``<prefix>-<random>`` under ``root``, in use by this process."""
        root.mkdir(parents=True, exist_ok=True)
        # Under the lock, so that no sweep can meet a folder that is not locked yet.
        with _root_lock(root):
            path = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=root))
            owner = {"pid": os.getpid(), "started": psutil.Process().create_time(), "created": time.time()}
            (path / MARKER).write_text(json.dumps(owner), encoding="utf-8")
            lock_fd = os.open(path / MARKER, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(lock_fd, fcntl.LOCK_SH)
        return cls(path, lock_fd)

    def release(self) -> None:
        """Stop using the folder and leave it where it is; a later sweep removes it unless a guest lives in it."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def remove(self) -> None:
        """Stop using the folder and delete it. Idempotent."""
        self.release()
        shutil.rmtree(self.path, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


def find_marker(folder: Path) -> Path | None:
    """The marker of the run folder that ``folder`` is or lies in; None when it lies in none."""
    return next((place / MARKER for place in (folder, *folder.parents) if (place / MARKER).is_file()), None)


def in_use(folder: Path) -> bool:
    """A process holds the lock of this run folder."""
    try:
        fd = os.open(folder / MARKER, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def sweep(root: Path) -> list[Path]:
    """Delete the run folders under ``root`` that no process uses; call it at the start of a run.

    Folders without the lab's marker are left alone.

    Returns:
        The folders that were deleted, by their former names.
    """
    if not root.is_dir():
        return []
    removed: list[Path] = []
    with _root_lock(root):
        for folder in sorted(root.iterdir()):
            if not (folder / MARKER).is_file() or in_use(folder):
                continue
            if not folder.name.startswith(_DOOMED):
                # A rename is quick; other starts need not wait for the deletion of a large folder.
                folder.rename(root / f"{_DOOMED}{folder.name}")
            removed.append(root / folder.name.removeprefix(_DOOMED))
    for folder in removed:
        shutil.rmtree(root / f"{_DOOMED}{folder.name}", ignore_errors=True)
    return removed


@contextlib.contextmanager
def _root_lock(root: Path) -> Iterator[None]:
    """Lets one process at a time make folders under ``root`` or mark them for deletion; held for milliseconds."""
    fd = os.open(root / _ROOT_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
