"""The templates of the cache folder: found by key, made once while others wait, published whole, bounded in number.

A template is made in ``templates/.<image>.<random>.tmp``, on which its maker holds a lock, and renamed when it is complete.
What a killed maker left behind holds no lock any more, and the next one removes it; the guest that it was booting died with
it. Forks that run keep the files of a template that is removed until they end.

The folder may hold other things, which stay: only what has the name of a template and files of one is removed, and of what
has the name of a work folder only that with the maker's lock file or with files of a template.
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
from dataclasses import replace
from pathlib import Path

from filelock import FileLock, Timeout

from lab.errors import SnapshotFailed
from lab.host.passed import passed_over
from lab.image.key import KEY_LENGTH
from lab.snapshot.template import TEMPLATE_FILE, Template, read_template
from lab.vm.snapshot import SNAPSHOT_FILE

_LOG = logging.getLogger(__name__)

#: So many stay: one CPU and two, without drivers and with three sets of them, of one image.
KEEP = 8
#: A boot that another worker does for all; an emulated Windows takes minutes.
WAIT_S = 3600.0
_LOCK_NAME = "maker.lock"
#: Held for milliseconds, so that nobody sweeps a work folder whose maker has no lock on it yet.
_FOLDER_LOCK = ".lock"
_TEMPLATE_NAME = re.compile(rf".+-[0-9a-f]{{{KEY_LENGTH}}}")
_WORK_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
#: What tells the lab's folders from others of such a name; in a work folder the last to go when it is deleted.
_TEMPLATE_MARKS = (TEMPLATE_FILE, SNAPSHOT_FILE)
_WORK_MARKS = (*_TEMPLATE_MARKS, _LOCK_NAME)
_POLL_S = 0.02


class TemplateStore:
    """Templates in one folder.

    Args:
        folder: The folder; made when it is missing, private to the user.
        keep: How many stay when another one is added; the ones that were used last.
        wait_s: Seconds to wait while another process makes one.
        clock: Wall clock in seconds.
    """

    def __init__(
        self, folder: Path, *, keep: int = KEEP, wait_s: float = WAIT_S, clock: Callable[[], float] = time.time
    ) -> None:
        self.folder = folder
        self._keep = keep
        self._wait_s = wait_s
        self._clock = clock

    def all(self) -> list[Template]:
        """The usable ones, last used first."""
        return self._usable(self._folders())

    def find(self, key: str) -> Template | None:
        """The template of a key; one that is damaged is removed. Finding it counts as use."""
        for path in self._folders():
            if path.name.endswith(f"-{key}"):
                try:
                    template = read_template(path)
                    if template.key != key:
                        raise SnapshotFailed(f"{path} holds the template {template.key}")
                except SnapshotFailed:
                    self._remove(path)
                    return None
                try:
                    self._touch(path)
                except FileNotFoundError:
                    return None  # another process has removed it just now
                return template
        return None

    def make(
        self,
        image: str,
        key: str,
        build: Callable[[Path], None],
        *,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> tuple[Template, bool]:
        """Make a template unless it is there.

        Args:
            image: Name of the image.
            key: Its key.
            build: Makes all files in an empty folder.
            progress: Told what is waited for.

        Returns:
            The template, and whether it was made just now.

        Raises:
            SnapshotFailed: Another process did not finish in time, or the result is not usable.
            LabError: Whatever ``build`` raises.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.find(key)
        if found is not None:
            return found, False
        with self._lock(image, progress):
            found = self.find(key)
            if found is not None:
                return found, False
            self.remove_leftovers()
            with self._work_folder(image) as work:
                build(work)
                for path in work.iterdir():
                    if path.is_dir():
                        raise SnapshotFailed(f"{path} was left in a template")
                template = read_template(work)
                self._touch(work)
                target = self.folder / f"{image}-{key}"
                self._publish(work, target)
            self.prune(self._keep)
            return replace(template, folder=target), True

    def discard(self, template: Template) -> None:
        """Remove one that proved broken, unless it was replaced meanwhile."""
        path = template.folder
        with passed_over(_LOG, f"{path.name} is no sound template", SnapshotFailed):
            if read_template(path).created != template.created:
                return
        self._remove(path)

    def prune(self, keep: int = 0, *, unless: Callable[[Template], bool] = lambda _template: False) -> list[Path]:
        """Remove damaged ones, and all but the ``keep`` last used.

        Args:
            keep: How many stay.
            unless: Templates for which this holds stay too.

        Returns:
            The folders that were removed.
        """
        # Listed once: one that another process publishes meanwhile is none of those that were judged.
        folders = self._folders()
        good = self._usable(folders)
        stay = {template.folder for template in good[:keep]} | {t.folder for t in good if unless(t)}
        removed = [path for path in folders if path not in stay]
        for path in removed:
            self._remove(path)
        return removed

    def remove_leftovers(self) -> list[Path]:
        """Remove what makers left that were killed: folders whose lock is free. Returns what was removed."""
        removed = []
        for path in self._of_the_lab(_WORK_NAME, _WORK_MARKS):
            lock = FileLock(path / _LOCK_NAME)
            try:
                with self._folder_lock():
                    lock.acquire(timeout=0)
            except (Timeout, OSError):
                continue
            try:
                _delete(path)
            finally:
                lock.release()
            removed.append(path)
        return removed

    def _usable(self, folders: Sequence[Path]) -> list[Template]:
        """The usable ones of these folders, last used first."""
        found = []
        for path in folders:
            with passed_over(_LOG, f"{path.name} is no sound template", SnapshotFailed):
                found.append((self._used(path), read_template(path)))
        return [template for _, template in sorted(found, key=lambda pair: -pair[0])]

    def _folders(self) -> list[Path]:
        """The templates' folders, damaged ones included."""
        return [path for path in self._of_the_lab(_TEMPLATE_NAME, _TEMPLATE_MARKS) if not path.name.startswith(".")]

    def _of_the_lab(self, name: re.Pattern[str], marks: Sequence[str]) -> list[Path]:
        """Folders of such a name that are surely the lab's own, by what they hold."""
        if not self.folder.is_dir():
            return []
        named = sorted(path for path in self.folder.iterdir() if name.fullmatch(path.name) and not path.is_symlink())
        return [path for path in named if any((path / mark).is_file() for mark in marks)]

    def _publish(self, work: Path, target: Path) -> None:
        """Give a complete folder its final name; a power cut leaves all of it or nothing."""
        for path in (*work.iterdir(), work):
            _sync(path)
        try:
            work.rename(target)
        except OSError as error:
            if not target.exists():
                raise
            raise SnapshotFailed(
                f"{target} is in the way of a template, and is none itself: {error.strerror}", hint="move it somewhere else"
            ) from error
        (target / _LOCK_NAME).unlink(missing_ok=True)
        _sync(self.folder)

    def _touch(self, folder: Path) -> None:
        """A template is used."""
        now = self._clock()
        os.utime(folder / TEMPLATE_FILE, (now, now))

    @staticmethod
    def _used(path: Path) -> float:
        try:
            return (path / TEMPLATE_FILE).stat().st_mtime
        except OSError:
            return 0.0

    def _remove(self, path: Path) -> None:
        """In two steps, so that nobody finds half of it."""
        doomed = self.folder / f".{path.name}.{secrets.token_hex(4)}.tmp"
        with passed_over(_LOG, f"{path.name} is not removed; another process may be at it", OSError):
            path.rename(doomed)
            _delete(doomed)

    @contextlib.contextmanager
    def _lock(self, image: str, progress: Callable[[str], None]) -> Iterator[None]:
        lock = FileLock(self.folder / f".{image}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            progress(f"wait for another worker's template of {image}")
            try:
                lock.acquire(timeout=self._wait_s, poll_interval=_POLL_S)
            except Timeout:
                raise SnapshotFailed(
                    f"another process has been making a template of {image} for more than {self._wait_s:g} s",
                    hint=f"look for it with `fuser {self.folder / f'.{image}.lock'}`",
                ) from None
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def _work_folder(self, image: str) -> Iterator[Path]:
        work = self.folder / f".{image}.{secrets.token_hex(4)}.tmp"
        lock = FileLock(work / _LOCK_NAME)
        with self._folder_lock():
            work.mkdir(mode=0o700)
            lock.acquire(timeout=0)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            lock.release()

    def _folder_lock(self) -> FileLock:
        return FileLock(self.folder / _FOLDER_LOCK, poll_interval=_POLL_S)


def _delete(folder: Path) -> None:
    """Delete a folder, its marks last: what is left when this process is killed is still known as the lab's."""
    with passed_over(_LOG, f"{folder.name} is not removed; another process may be at it", OSError):
        for path in folder.iterdir():
            if path.name in _WORK_MARKS:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have a file's or a folder's content reach the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
