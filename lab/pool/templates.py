"""The templates of the cache folder: found by key, made once while others wait, published whole, bounded in number.

A template is made in ``templates/.<image>.<random>.tmp``, on which its maker holds a lock, and renamed when it is complete.
What a killed maker left behind holds no lock any more, and the next one removes it; the guest that it was booting died with
it. Forks that run keep the files of a template that is removed until they end.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from lab.errors import FreezeFailed
from lab.pool.template import TEMPLATE_FILE, Template, read_template

#: So many stay: one CPU and two, without drivers and with three sets of them, of one image.
KEEP = 8
#: A boot that another worker does for all; an emulated Windows takes minutes.
WAIT_S = 3600.0
_LOCK_NAME = "maker.lock"
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
        found = []
        for path in self._folders():
            with contextlib.suppress(FreezeFailed):
                found.append((self._used(path), read_template(path)))
        return [template for _, template in sorted(found, key=lambda pair: -pair[0])]

    def find(self, key: str) -> Template | None:
        """The template of a key; one that is damaged is removed. Finding it counts as use."""
        for path in self._folders():
            if path.name.endswith(f"-{key}"):
                try:
                    template = read_template(path)
                except FreezeFailed:
                    self._remove(path)
                    return None
                os.utime(path / TEMPLATE_FILE, (self._clock(), self._clock()))
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
            FreezeFailed: Another process did not finish in time, or the result is not usable.
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
                        raise FreezeFailed(f"{path} was left in a template")
                target = self.folder / f"{image}-{key}"
                work.rename(target)
            (target / _LOCK_NAME).unlink(missing_ok=True)
            self.prune(self._keep)
            made = self.find(key)
            if made is None:
                raise FreezeFailed(f"{target} is not usable after it was made")
            return made, True

    def discard(self, template: Template) -> None:
        """Remove one that proved broken, unless it was replaced meanwhile."""
        path = template.folder
        with contextlib.suppress(FreezeFailed):
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
        good = self.all()
        stay = {template.folder for template in good[:keep]} | {t.folder for t in good if unless(t)}
        removed = [path for path in self._folders() if path not in stay]
        for path in removed:
            self._remove(path)
        return removed

    def remove_leftovers(self) -> list[Path]:
        """Remove what makers left that were killed: folders whose lock is free. Returns what was removed."""
        removed = []
        for path in self.folder.glob(".*.tmp"):
            lock = FileLock(path / _LOCK_NAME, timeout=0)
            try:
                with lock:
                    shutil.rmtree(path, ignore_errors=True)
            except (Timeout, OSError):
                continue
            removed.append(path)
        return removed

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    @staticmethod
    def _used(path: Path) -> float:
        try:
            return (path / TEMPLATE_FILE).stat().st_mtime
        except OSError:
            return 0.0

    def _remove(self, path: Path) -> None:
        """In two steps, so that nobody finds half of it."""
        doomed = self.folder / f".{path.name}.{secrets.token_hex(4)}.tmp"
        with contextlib.suppress(OSError):  # another process may be at it
            path.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

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
                raise FreezeFailed(
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
        work.mkdir(mode=0o700)
        lock = FileLock(work / _LOCK_NAME)
        lock.acquire(timeout=0)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)
            lock.release()
