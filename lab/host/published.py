"""Folders that are made whole or not at all: images and templates in the cache, and the scratch folder of an image's build.

A folder is made under a name of its own, ``.<name>.<random>.tmp``, in which its maker holds a lock file. When it is complete,
its content is written to the disk, and it is renamed to its final name. A maker that was killed holds no lock any more, so
the next one sees that the folder is a leftover, and removes it. Guests that run from a folder keep its files when it is
removed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from lab.errors import LabError
from lab.host.passed import passed_over

_LOG = logging.getLogger(__name__)

#: Names of work folders; nothing else is removed.
_WORK = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
#: Held for milliseconds, so that no sweep finds a work folder that its maker has not locked yet.
_FOLDER_LOCK = ".lock"
_POLL_S = 0.02
#: How long the removal of a folder is tried again: a killed program may still write into it for a moment.
_REMOVE_S = 5.0


@dataclass(frozen=True, slots=True)
class PublishedFolders:
    """All folders of one sort, in one folder.

    Attributes:
        base: The folder that they are in.
        lock_name: Lock file in a work folder, held by its maker.
        marks: Files of which a leftover has at least one, beside its name, and which are removed last, so that the rest of an
            interrupted removal is still recognized. Empty: the name is enough.
        empty: Called with a work folder before it is removed, for content that its owner cannot remove.
    """

    base: Path
    lock_name: str
    marks: tuple[str, ...] = ()
    empty: Callable[[Path], None] = lambda _work: None

    @contextlib.contextmanager
    def maker(self, name: str, *, wait_s: float, waits: Callable[[], None], busy: Callable[[Path], LabError]) -> Iterator[None]:
        """Become the only maker of this name; others wait.

        Args:
            name: For example an image's name, whatever its key.
            wait_s: Seconds to wait for another maker.
            waits: Called when another one is at work, before it is waited for.
            busy: Makes the error of a wait that was too long, from the lock file.
        """
        path = self.base / f".{name}.lock"
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waits()
            try:
                lock.acquire(timeout=wait_s, poll_interval=_POLL_S)
            except Timeout:
                raise busy(path) from None
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def work_folder(self, name: str) -> Iterator[Path]:
        """An empty folder to make something in, private to the user; it is removed unless it is published."""
        work = self.base / f".{name}.{secrets.token_hex(4)}.tmp"
        lock = FileLock(work / self.lock_name)
        with self._all():
            work.mkdir(mode=0o700)
            lock.acquire(timeout=0)
        try:
            yield work
        finally:
            if work.exists():
                with passed_over(_LOG, f"{work} is not removed", OSError, level=logging.WARNING):
                    self._remove_work(work)
            lock.release()

    def publish(self, work: Path, target: Path, *, replaces: bool = False) -> None:
        """Give a complete work folder its final name; after a power cut, all of it is there or nothing.

        Args:
            work: The folder.
            target: Its final name.
            replaces: A folder that has the name is removed. Else it stays, and is an error.

        Raises:
            OSError: Another folder has the name, or the disk refuses.
        """
        for path in (*(path for path in work.iterdir() if path.is_file()), work):
            sync(path)
        old = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
        if replaces and target.exists():
            target.rename(old)
        work.rename(target)
        (target / self.lock_name).unlink(missing_ok=True)
        sync(self.base)
        if old.exists():
            remove_folder(old, last=self._marks)

    def retire(self, path: Path) -> None:
        """Remove a published folder, in two steps, so that no one finds half of it.

        Raises:
            OSError: It cannot be removed, or another process has just done so.
        """
        doomed = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        path.rename(doomed)
        remove_folder(doomed, last=self._marks)

    def leftovers(self) -> list[Path]:
        """Work folders whose maker is gone: those whose lock is free."""
        found = []
        for folder in self._work_folders():
            with contextlib.suppress(Timeout, OSError), FileLock(folder / self.lock_name, timeout=0):
                found.append(folder)
        return found

    def sweep(self, stuck: Callable[[Path, OSError], None]) -> list[Path]:
        """Remove work folders whose maker is gone.

        Args:
            stuck: Gets each that cannot be removed, and why.

        Returns:
            What was removed.
        """
        removed = []
        for folder in self._work_folders():
            lock = FileLock(folder / self.lock_name)
            try:
                with self._all():
                    lock.acquire(timeout=0)
                try:
                    self._remove_work(folder)
                finally:
                    lock.release()
            except Timeout:
                continue  # its maker is at work
            except OSError as error:
                stuck(folder, error)
                continue
            removed.append(folder)
        return removed

    def _remove_work(self, work: Path) -> None:
        self.empty(work)
        remove_folder(work, last=self._marks)

    @property
    def _marks(self) -> tuple[str, ...]:
        return (*self.marks, self.lock_name)

    def _work_folders(self) -> list[Path]:
        return self.named(_WORK, self._marks if self.marks else ())

    def named(self, name: re.Pattern[str], marks: Sequence[str]) -> list[Path]:
        """Folders of such a name, sorted; with ``marks``, those that hold at least one of these files. No links."""
        if not self.base.is_dir():
            return []
        found = (path for path in self.base.iterdir() if name.fullmatch(path.name))
        folders = sorted(path for path in found if path.is_dir() and not path.is_symlink())
        return [path for path in folders if not marks or any((path / mark).is_file() for mark in marks)]

    def _all(self) -> FileLock:
        return FileLock(self.base / _FOLDER_LOCK, poll_interval=_POLL_S)


def remove_folder(folder: Path, *, last: Sequence[str] = ()) -> None:
    """Remove a folder and all below it; a folder that is gone is fine.

    Args:
        folder: The folder.
        last: Names of its files that go last.

    Raises:
        OSError: Something in it cannot be removed, or is written to all the time.
    """
    deadline = time.monotonic() + _REMOVE_S
    while True:
        try:
            for path in folder.iterdir():
                if path.name in last:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            shutil.rmtree(folder)
            return
        except OSError:
            if not folder.exists():
                return
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def sync(path: Path) -> None:
    """Wait until the content of a file or folder is on the disk (fsync)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
