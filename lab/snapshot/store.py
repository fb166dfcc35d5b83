"""The templates of the cache folder: they are found by key, made once while other processes wait, and limited in number.

They are published as a whole or not at all, see :mod:`lab.host.published`. Running forks keep the files of a removed template
open until they end. If a process is killed while it makes a template, its guest ends with it.

Other contents of the folder are left alone. A folder is removed only if it has the name of a template and files of one, or the
name of a work folder and the maker's lock file or files of a template.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from lab.errors import SnapshotFailed
from lab.host.passed import passed_over
from lab.host.published import PublishedFolders
from lab.image.key import KEY_LENGTH
from lab.snapshot.template import TEMPLATE_FILE, Template, read_template
from lab.vm.snapshot import SNAPSHOT_FILE

_LOG = logging.getLogger(__name__)

#: Number of templates that stay. Enough for one image with one CPU and two, without drivers and with three sets of them.
KEEP = 8
#: Seconds to wait for the boot of another worker; an emulated Windows takes minutes.
WAIT_S = 3600.0
_LOCK_NAME = "maker.lock"
_TEMPLATE_NAME = re.compile(rf".+-[0-9a-f]{{{KEY_LENGTH}}}")
#: Files by which the lab recognises its own folders.
_TEMPLATE_MARKS = (TEMPLATE_FILE, SNAPSHOT_FILE)


class TemplateStore:
    """Templates in one folder.

    Args:
        folder: The folder; made when it is missing, private to the user.
        keep: How many stay when another one is added: those that were used last.
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
        self._published = PublishedFolders(folder, _LOCK_NAME, marks=_TEMPLATE_MARKS)

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
                        raise SnapshotFailed(f"{path} has the template {template.key}")
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
            progress: Gets a line for each wait.

        Returns:
            The template, and whether it was made just now.

        Raises:
            SnapshotFailed: Another process did not finish in time, or the result is not usable.
            LabError: Any error of ``build``.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.find(key)
        if found is not None:
            return found, False

        def busy(lock: Path) -> SnapshotFailed:
            return SnapshotFailed(
                f"another process has been making a template of {image} for more than {self._wait_s:g} s",
                hint=f"find it with `fuser {lock}`",
            )

        def waits() -> None:
            progress(f"wait for another worker's template of {image}")

        with self._published.maker(image, wait_s=self._wait_s, waits=waits, busy=busy):
            found = self.find(key)
            if found is not None:
                return found, False
            self.remove_leftovers()
            with self._published.work_folder(image) as work:
                build(work)
                for path in work.iterdir():
                    if path.is_dir():
                        raise SnapshotFailed(f"{path} remained in a template")
                template = read_template(work)
                self._touch(work)
                target = self.folder / f"{image}-{key}"
                self._publish(work, target)
            self.prune(self._keep)
            return replace(template, folder=target), True

    def discard(self, template: Template) -> None:
        """Remove a broken template, unless it was replaced meanwhile."""
        path = template.folder
        with passed_over(_LOG, f"{path.name} is not a valid template", SnapshotFailed):
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
        # Listed once, so that a template that another process publishes meanwhile is not removed.
        folders = self._folders()
        good = self._usable(folders)
        stay = {template.folder for template in good[:keep]} | {t.folder for t in good if unless(t)}
        removed = [path for path in folders if path not in stay]
        for path in removed:
            self._remove(path)
        return removed

    def remove_leftovers(self) -> list[Path]:
        """Remove the work folders of killed processes, whose locks are free. Returns the removed folders."""

        def stuck(folder: Path, error: OSError) -> None:
            _LOG.info("%s is not removed; another process may be using it: %s", folder.name, error)

        return self._published.sweep(stuck)

    def _usable(self, folders: Sequence[Path]) -> list[Template]:
        """The usable ones of these folders, last used first."""
        found = []
        for path in folders:
            with passed_over(_LOG, f"{path.name} is not a valid template", SnapshotFailed):
                found.append((self._used(path), read_template(path)))
        return [template for _, template in sorted(found, key=lambda pair: -pair[0])]

    def _folders(self) -> list[Path]:
        """The templates' folders, damaged ones included."""
        found = self._published.named(_TEMPLATE_NAME, _TEMPLATE_MARKS)
        return [path for path in found if not path.name.startswith(".")]

    def _publish(self, work: Path, target: Path) -> None:
        """Give a complete folder its final name; a power cut leaves all of it or nothing."""
        try:
            self._published.publish(work, target)
        except OSError as error:
            if not target.exists():
                raise
            raise SnapshotFailed(
                f"{target} has the name of a template, but is not one: {error.strerror}", hint="move it somewhere else"
            ) from error

    def _touch(self, folder: Path) -> None:
        """Note that a template was used."""
        now = self._clock()
        os.utime(folder / TEMPLATE_FILE, (now, now))

    @staticmethod
    def _used(path: Path) -> float:
        try:
            return (path / TEMPLATE_FILE).stat().st_mtime
        except OSError:
            return 0.0

    def _remove(self, path: Path) -> None:
        """Remove a folder in two steps, so that no process finds half of it."""
        with passed_over(_LOG, f"{path.name} is not removed; another process may be using it", OSError):
            self._published.retire(path)
